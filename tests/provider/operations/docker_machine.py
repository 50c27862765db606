"""A machine with Debian's own Docker in it, for what only a real daemon can show.

The folder's `conftest.py` offers it to every test, so that a test process makes it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from berth.facts import HostFacts
from berth.provider.host import Host
from tests.machines.connection import MachineConnection
from tests.machines.engine import Engine
from tests.machines.fixtures import or_skip
from tests.machines.image import Layer, layer_image, machine_image
from tests.machines.machine import Machine

# containerd alone is a service at boot here; Docker comes up when a test has it started. An image without any download:
# the machine's own busybox.
_SETUP = r"""
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends docker.io docker-cli iptables busybox-static > /dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
mkdir -p /srv/tiny/bin
cp /bin/busybox /srv/tiny/bin/busybox
"""
_LAYER = Layer(name="docker", setup=_SETUP, command=("/lib/systemd/systemd",))
_TINY = "docker image inspect tiny > /dev/null 2>&1 || tar -C /srv/tiny -c . | docker import - tiny > /dev/null"


@dataclass
class DockerMachine:
    """The machine as its tests use it; `said` are the status lines of what ran through `host`."""

    machine: Machine
    said: list[str] = field(default_factory=list)

    @property
    def host(self) -> Host:
        """It, as an operation sees it; nothing is known of it yet."""
        return Host(
            name="box", workspace="/root/berth", connection=MachineConnection(self.machine), say=self.said.append
        )

    async def facts(self) -> HostFacts:
        """What it is now."""
        return await self.host.facts()

    def out(self, script: str, *arguments: str) -> str:
        """What a script that must succeed wrote."""
        ran = self.machine.run(["sh", "-euc", script, "test", *arguments], timeout_s=120)
        assert ran.code == 0, ran.err or ran.out
        return ran.out.strip()

    def configured(self, text: str | None) -> int:
        """Docker started anew with this daemon.json; the daemon's process id."""
        self.machine.run(["mkdir", "-p", "/etc/docker"])
        if text is None:
            self.machine.run(["rm", "-f", "/etc/docker/daemon.json"])
        else:
            self.machine.run(["tee", "/etc/docker/daemon.json"], stdin=text)
        self.out("systemctl reset-failed docker || :; systemctl restart docker")
        self.said.clear()
        return self.pid

    def with_container(self) -> None:
        """One container that runs until it is stopped."""
        self.out(_TINY + "; docker rm --force one > /dev/null 2>&1 || :")
        self.out(
            "docker run --detach --name one --network none --stop-signal KILL tiny /bin/busybox sleep 1000 > /dev/null"
        )

    @property
    def running(self) -> bool:
        """Whether that container still runs."""
        return self.out("docker inspect --format '{{.State.Running}}' one") == "true"

    @property
    def pid(self) -> int:
        """The daemon's process id; another one after a restart."""
        return int(self.out("systemctl show -P MainPID docker"))

    @property
    def daemon_json(self) -> str:
        """The file as it is, byte for byte."""
        return self.machine.run(["cat", "/etc/docker/daemon.json"]).out

    def asked(self, form: str) -> Any:
        """What the daemon says of itself."""
        return self.out('docker info --format "$1"', form)


@pytest.fixture(scope="session")
def docker_machine(machine_engine: Engine) -> Iterator[DockerMachine]:
    """One for each test process; it ends with the session. Tests leave Docker running, and no container."""
    with or_skip("test machine with Docker"):
        image = layer_image(machine_engine, machine_image(machine_engine), _LAYER)
    machine = Machine.start(machine_engine, image, "--volume", "/var/lib/docker")
    try:
        yield DockerMachine(machine)
    finally:
        machine.remove()
