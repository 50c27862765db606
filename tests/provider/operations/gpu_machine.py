"""A machine with a recorded card, its stand-in driver loaded, Docker and the real container toolkit installed.

The folder's `conftest.py` offers it to every test, so that a test process makes it once (about half a minute).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machines.engine import Engine
from tests.machines.fixtures import or_skip
from tests.machines.kinds import DEBIAN_13_SERVER
from tests.machines.repository.local import CUDA, DOCKER, KEY_FILES, PROBE, SUITE, TOOLKIT, local_repository
from tests.provider.operations.docker_machine import DockerMachine
from tests.sshd.machine import start

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
echo '{{"features": {{"cdi": true}}}}' > /etc/docker/daemon.json
"""


@pytest.fixture(scope="session")
def gpu_machine(machine_engine: Engine) -> Iterator[DockerMachine]:
    """One for each test process; it ends with the session. Tests leave a fresh specification and Docker running."""
    with or_skip("test machine with a recorded GPU"):
        repository = local_repository(machine_engine).served
        there = start(machine_engine, DEBIAN_13_SERVER, hardware="rtx5090", repository=repository)
    try:
        made = DockerMachine(there.machine)
        made.out(_INSTALL)
        there.machine.reboot()
        made.out(f"docker import /srv/repository/{PROBE} probe > /dev/null")
        yield made
    finally:
        there.machine.remove()
