"""A machine with a recorded card, its stand-in driver loaded, a real Docker and the real container toolkit.

The folder's `conftest.py` offers it to every test, so that a test process makes it once (about 15 seconds).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

import pytest

from berth.facts import HostFacts
from berth.provider.connection.ssh import SshConnection
from berth.provider.host import Host
from tests.machines.connection import MachineConnection
from tests.machines.engine import Engine
from tests.machines.fixtures import or_skip
from tests.machines.kinds import DEBIAN_13_SERVER
from tests.machines.machine import Machine
from tests.machines.repository.local import CUDA, DOCKER, KEY_FILES, PROBE, SUITE, TOOLKIT, local_repository
from tests.sshd.machine import SshMachine, start

_INSTALL = f"""
export DEBIAN_FRONTEND=noninteractive
add() {{
  printf 'Types: deb\\nURIs: file:/srv/repository/%s\\nSuites: %s\\n' "$1" "$2"
  if [ -n "$3" ]; then echo "Components: $3"; fi
  echo "Signed-By: /srv/repository/$4"
}} > "/etc/apt/sources.list.d/${{1%%/*}}.sources"
add {CUDA} / '' {KEY_FILES[CUDA]}
add {TOOLKIT} / '' {KEY_FILES[TOOLKIT]}
add {DOCKER} {SUITE} stable {KEY_FILES[DOCKER]}
apt-get update -qq
apt-get install -qq --yes nvidia-driver-pinning-580 "linux-headers-$(uname -r)"
apt-get install -qq --yes nvidia-open docker-ce docker-ce-cli nvidia-container-toolkit
echo blacklist nouveau > /etc/modprobe.d/berth.conf
update-initramfs -u
mkdir -p /etc/docker
"""


@dataclass
class GpuMachine:
    """The machine as its tests use it; `said` are the status lines of what ran through `host`."""

    there: SshMachine
    said: list[str] = field(default_factory=list)

    @property
    def machine(self) -> Machine:
        """It, as its root sees it."""
        return self.there.machine

    @property
    def host(self) -> Host:
        """It, as an operation sees it; nothing is known of it yet."""
        connection = MachineConnection(self.machine)
        return Host(name="box", workspace="/root/berth", connection=connection, say=self.said.append)

    @contextlib.asynccontextmanager
    async def over_ssh(self, user: str, password: str | None = None) -> AsyncIterator[Host]:
        """It, as a user of its own sees it over SSH."""
        connection = SshConnection("box", self.there.settings(user, password), asyncio.Semaphore(1))
        try:
            yield replace(self.host, connection=connection, sudo_password=password is not None)
        finally:
            await connection.close()

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
        if text is None:
            self.machine.run(["rm", "-f", "/etc/docker/daemon.json"])
        else:
            self.machine.run(["tee", "/etc/docker/daemon.json"], stdin=text)
        self.out("systemctl reset-failed docker || :; systemctl restart docker")
        self.said.clear()
        return self.pid

    def with_container(self) -> None:
        """One container that runs until it is stopped."""
        self.out("docker rm --force one > /dev/null 2>&1 || :")
        self.out("docker run --detach --name one --network none --stop-signal KILL probe sleep 1000 > /dev/null")

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

    def asked(self, form: str) -> str:
        """What the daemon says of itself."""
        return self.out('docker info --format "$1"', form)


@pytest.fixture(scope="session")
def gpu_machine(machine_engine: Engine) -> Iterator[GpuMachine]:
    """One for each test process; it ends with the session. Tests leave its driver, its units and a running Docker."""
    with or_skip("test machine with a recorded GPU"):
        repository = local_repository(machine_engine).served
        there = start(machine_engine, DEBIAN_13_SERVER, hardware="rtx5090", repository=repository)
    try:
        made = GpuMachine(there)
        made.out(_INSTALL)
        there.machine.reboot()
        made.out('docker import "$1" probe > /dev/null', f"/srv/repository/{PROBE}")
        yield made
    finally:
        there.machine.remove()
