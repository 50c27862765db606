"""Three models that compose has started on a machine with a recorded card, brought under control: nothing restarts.

The containers are those of tests/importing/compose.yaml on a real Docker, with stand-ins for the engines and nginx. The
machine, its SSH server, its card's CDI device, `berth import` and Pulumi are the real ones.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from project import Done, Project, until
from traffic import Traffic

from tests.gateway.conftest import envoy
from tests.hub.fixtures import safetensors
from tests.importing.composed import COMMITS, docker_run, services, stand_in_words
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image, envoy_image
from tests.machines.fixtures import machine_engine
from tests.provider.operations.gpu_machine import GpuMachine, gpu_machine

__all__ = ["envoy", "gpu_machine", "machine_engine"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd, pytest.mark.timeout(1800)]  # eleven runs of Pulumi

NAME = "imported"
MODELS = ("tinyllama", "qwen", "yi")
USER = "free"
VLLM = "vllm/vllm-openai:v0.10.1.1"
"""What the compose file's `latest` was when somebody started it, so that the engine's release is known here."""

_WEIGHTS = r"""
place=$1/snapshots/$2
mkdir -p "$1/refs" "$place" "$1/.berth"
printf %s "$2" > "$1/refs/main"
printf '{}' > "$place/config.json"
cat > "$place/model.safetensors"
printf '{"config.json": 2, "model.safetensors": %s}' "$(stat -c %s "$place/model.safetensors")" > "$1/.berth/$2.json"
chown -R "$3" "/home/$3/.cache"
"""
"""What a download leaves."""


@dataclass
class Box:
    """The machine, and a copy of the project that learns of it."""

    project: Project
    there: GpuMachine
    gateway: str
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return str(self.project.root / "stacks" / f"{NAME}.yaml")

    def docker(self, *arguments: str) -> str:
        return self.there.out('docker "$@"', *arguments)

    def same(self) -> dict[str, str]:
        """What a restart or a change of any of the containers would change."""
        form = "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.State.Pid}}"
        said = self.docker("inspect", "--format", form, *(one["container_name"] for one in services().values()))
        return dict(line.split(" ", 1) for line in said.splitlines())

    def compose(self) -> None:
        """Starts what the compose file says."""
        for name, said in services().items():
            options = docker_run(name, said, f"/home/{USER}")
            if name in MODELS:
                self.docker("run", *options, "--device", "nvidia.com/gpu=0", VLLM, *stand_in_words(said))
            else:  # STAND-IN: something of that name that listens
                port = said["ports"][0].rpartition(":")[2]
                self.docker("run", *options, "--entrypoint", "python3", said["image"], "-m", "http.server", port)
        for repo, commit in COMMITS.items():
            folder = f"/home/{USER}/.cache/huggingface/hub/models--{repo.replace('/', '--')}"
            argv = ["sh", "-euc", _WEIGHTS, "weights", folder, commit, USER]
            ran = self.there.machine.run(argv, stdin=safetensors(9000))
            assert ran.code == 0, ran.err

    def berth_import(self) -> Done:
        """As a user would."""
        said = self.there.there.settings(USER)
        argv = [sys.executable, "-m", "berth.cli", "import", f"{USER}@{said.host}", "--output", self.file]
        argv += ["--host-key", str(said.host_key), "--key-file", str(said.key_file), "--port", str(said.port)]
        done = subprocess.run(argv, cwd=self.project.root, capture_output=True, text=True, check=False, timeout=120)
        return Done(done.returncode, done.stdout + done.stderr)

    def up(self, *arguments: str) -> str:
        done = self.project.up(NAME, *arguments).ok()
        self.outputs = self.project.outputs(NAME)
        return done.output

    @cached_property
    def door(self) -> str:
        machine = self.there.machine
        address = machine.engine.out("inspect", "--format", "{{.NetworkSettings.IPAddress}}", machine.name)
        return f"http://{address}:8080/v1"

    def ask(self, model: str) -> int:
        """One completion through the gateway."""
        return requests.post(
            f"{self.door}/completions",
            json={"model": model, "prompt": "안녕하세요", "max_tokens": 2},
            headers={"Authorization": f"Bearer {self.outputs['keys']['default']}"},
            timeout=60,
        ).status_code

    def drift(self) -> Done:
        """What `berth drift` says."""
        done = subprocess.run(
            [sys.executable, "-m", "berth.cli", "drift", NAME],
            cwd=self.project.root, env=self.project.environment(NAME), capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip
        return Done(done.returncode, done.stdout + done.stderr)

    def edit(self, **models: Mapping[str, Any]) -> None:
        """Changes what the stack file says of models."""
        content = yaml.safe_load(Path(self.file).read_text())
        for name, said in models.items():
            content["models"][name] |= said
        self.project.write(NAME, content)


@pytest.fixture
def box(project: Project, gpu_machine: GpuMachine, machine_engine: Engine, envoy: str) -> Iterator[Box]:
    gpu_machine.out('usermod -aG docker "$1"', USER)
    gpu_machine.configured('{"features": {"cdi": true}}')
    images = engine_image(machine_engine), envoy_image(machine_engine, envoy)
    load = machine_engine.argv("exec", "--interactive", gpu_machine.machine.name, "docker", "load", "--quiet")
    with subprocess.Popen(machine_engine.argv("save", *images), stdout=subprocess.PIPE) as save:
        subprocess.run(load, stdin=save.stdout, check=True, capture_output=True, timeout=300)
    made = Box(project, gpu_machine, images[1])
    for name in {VLLM, *(said["image"] for name, said in services().items() if name not in MODELS)}:
        made.docker("tag", images[0], name)
    made.compose()
    try:
        yield made
    finally:
        listed = made.docker("ps", "--all", "--quiet").split()
        made.there.out('docker rm --force "$@" > /dev/null', *listed)


def test_what_runs_is_adopted_and_nothing_is_touched(box: Box) -> None:
    before = box.same()
    said = box.berth_import().ok().output
    assert "tinyllama, qwen, yi" in said
    _what_was_written(box)
    box.project.init(NAME)
    box.project.pulumi(NAME, "config", "set", "--secret", "hf_token", "x").ok()
    _the_first_preview(box)
    assert box.same() == before
    box.up()
    assert {model: box.ask(model) for model in MODELS} == dict.fromkeys(MODELS, 200)
    box.up("--expect-no-changes")
    assert box.same() == before
    _a_hand_shows(box)
    _one_that_does_not_start_gives_way_to_what_was_there(box)
    _one_is_taken_over(box)
    after = box.same()
    box.project.destroy(NAME).ok()
    assert box.same() == after
    assert box.docker("ps", "--all", "--quiet", "--filter", "label=dev.berth.stack") == ""


def _what_was_written(box: Box) -> None:
    """The tests of `berth.importing` compare all of it with stacks/rtx5090.yaml."""
    written = (box.project.root / "stacks" / f"{NAME}.yaml").read_text()
    content = yaml.safe_load(written)
    assert {name: model["adopt"] for name, model in content["models"].items()} == {
        name: {"container": name} for name in MODELS
    }
    assert content["hosts"]["box"]["gpus"] == [{"model": "rtx-5090"}]
    assert [model["source"]["revision"] for model in content["models"].values()] == [*COMMITS.values()]
    assert content["models"]["yi"]["args"]["use_v2_block_manager"] is True
    assert "hf_notARealTokenAtAll" not in written
    assert "container gateway (nginx) listens on 8000" in written
    assert content["gateway"] == {"host": "box", "port": 8080}
    content["gateway"] |= {"image": box.gateway, "bind": "0.0.0.0", "plain": True}
    box.project.write(NAME, content)


def _the_first_preview(box: Box) -> None:
    shown = box.project.pulumi(NAME, "preview", "--diff").ok().output
    assert "berth:serving:AdoptedReplica: (create)" in shown
    assert "berth:serving:Replica:" not in shown
    for model in MODELS:
        lead = f"container {model} on box is left as it is; `take: true` in models.{model}.adopt would add: "
        for lack in ("labels", "a pinned image", "a port on loopback", "the lock of its card", "limits of its log"):
            assert f"{lead}{lack}" in shown, shown


def _a_hand_shows(box: Box) -> None:
    """One was stopped, which `up` mends; one has other arguments, which it refuses to touch."""
    box.docker("stop", "--time", "1", "yi")
    found = box.drift()
    assert (found.status, '"stopped" => "running"' in found.output) == (1, True), found.output
    said = services()["qwen"]
    box.docker("rm", "--force", "qwen")
    words = [word.replace("1536", "1024") for word in stand_in_words(said)]
    options = docker_run("qwen", said, f"/home/{USER}")
    box.docker("run", *options, "--device", "nvidia.com/gpu=0", VLLM, *words)
    until(lambda: _answers(box, 8002), "the other engine", 30)
    shown = box.project.pulumi(NAME, "preview", "--diff").output
    assert "context: 1024 => 1536" in shown, shown
    assert "context is 1024 there and 1536 here" in shown, shown
    box.edit(qwen={"context": 1024})


def _one_that_does_not_start_gives_way_to_what_was_there(box: Box) -> None:
    """Berth's own never answers, so that the container that was stopped for it serves again; and no request failed."""
    take = {"adopt": {"container": "qwen", "take": True}, "start_timeout": "60s"}
    box.edit(qwen={**take, "environment": {"STANDIN_BROKEN": "1"}})
    with Traffic(box.door, box.outputs["keys"]["default"], "qwen", rate=5) as traffic:
        done = box.project.up(NAME)
        assert done.status != 0, done.output
        assert "qwen-main-0: container qwen was started again and serves" in done.output, done.output
        assert box.docker("inspect", "--format", "{{.State.Running}}", "qwen") == "true"
        assert box.ask("qwen") == 200
    assert traffic.failed == []
    assert box.docker("ps", "--all", "--quiet", "--filter", "label=dev.berth.model=qwen") == ""
    content = yaml.safe_load(Path(box.file).read_text())
    content["models"]["qwen"] = {
        key: said for key, said in content["models"]["qwen"].items() if key not in {"environment", "start_timeout"}
    } | {"adopt": {"container": "qwen"}}
    box.project.write(NAME, content)
    before = box.same()
    box.up()
    assert {model: box.ask(model) for model in MODELS} == dict.fromkeys(MODELS, 200)
    assert box.drift().ok().output.count("unchanged")
    assert box.same() == {**before, "/yi": box.same()["/yi"]}, "yi was stopped by hand, and is mended"


def _one_is_taken_over(box: Box) -> None:
    """By one line: the requests meanwhile wait, and no container but the stopped one changes."""
    before = box.same()
    box.edit(tinyllama={"adopt": {"container": "tinyllama", "take": True}})
    with Traffic(box.door, box.outputs["keys"]["default"], "tinyllama", rate=5) as traffic:
        box.up()
    assert traffic.failed == []
    assert box.docker("inspect", "--format", "{{.State.Running}}", "tinyllama") == "false"
    assert box.docker("ps", "--quiet", "--filter", "label=dev.berth.model=tinyllama") != ""
    assert {model: box.ask(model) for model in MODELS} == dict.fromkeys(MODELS, 200)
    assert box.drift().ok().output.count("unchanged")
    after = box.same()
    assert {name for name in after if after[name] != before[name]} == {"/tinyllama"}


def _answers(box: Box, port: int) -> bool:
    return box.there.out('curl -s -o /dev/null "http://127.0.0.1:$1/health" && echo yes || :', str(port)) == "yes"
