"""Stacks of bare GPU machines reached over SSH, whose packages come from the local repositories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from project import Project

from tests.machines.kinds import REPOSITORY_ADDRESS
from tests.machines.machine import Machine
from tests.machines.repository.local import CUDA, DOCKER, TOOLKIT, LocalRepository
from tests.sshd.machine import SshMachine

USER = "free"
"""Who logs in: no root, and sudo asks nothing."""
OPEN_FILES = {"default-ulimits": {"nofile": {"Hard": 16384, "Soft": 16384}}}
"""Settings of Docker on these machines: a container may have no more open files than this machine itself."""
_OWNERS = {"nvidia": CUDA, "docker": DOCKER, "container_toolkit": TOOLKIT}
_SNAPSHOT = r"""
cd /
find . -xdev \( -path ./proc -o -path ./sys -o -path ./run -o -path ./dev -o -path ./srv -o -path ./var/log/journal \) \
  -prune -o -printf '%y %m %u:%g %p -> %l\n' | sort
find . -xdev \( -path ./proc -o -path ./sys -o -path ./run -o -path ./dev -o -path ./srv -o -path ./var/log \) -prune \
  -o -type f -print0 | sort -z | xargs -0 sha256sum
"""


def gpu_host(machine: SshMachine, repository: LocalRepository) -> dict[str, Any]:
    """What a stack says of a machine with an RTX 5090: stacks/rtx5090.yaml's, and where its packages come from."""
    key = {"key_file": str(machine.key), "host_key": " ".join(machine.host_key.split()[:2])}
    return {
        "connection": {"ssh": {"host": machine.address, "port": machine.port, "user": USER, **key}},
        "gpus": [{"model": "rtx-5090"}],
        "runtime": "docker",
        "prerequisites": {
            "driver": {"branch": 580, "reboot": "allowed"},
            "docker": {"settings": OPEN_FILES},
            "container_toolkit": {"version": "1.20.1"},
            "limits": {"memlock": "unlimited"},
            "users": {USER: {"groups": ["docker"]}},
            "repositories": repositories(repository),
        },
    }


def repositories(repository: LocalRepository) -> dict[str, Any]:
    """What a stack says of where packages come from; `write_keys` writes the files that it names."""
    return {
        owner: {
            "uri": f"{REPOSITORY_ADDRESS}/{path}",
            "key": f"{owner}.asc",
            "fingerprint": repository.fingerprints[path],
        }
        for owner, path in _OWNERS.items()
    }


def write_keys(project: Project, repository: LocalRepository) -> None:
    """Writes the repositories' keys into a project."""
    for owner, path in _OWNERS.items():
        (project.root / f"{owner}.asc").write_text(repository.key(path))


def write_stack(project: Project, stack: str, machines: Mapping[str, SshMachine], repository: LocalRepository) -> None:
    """Writes a stack of bare machines and the keys of their repositories into a project, and makes it."""
    write_keys(project, repository)
    hosts = {name: gpu_host(machine, repository) for name, machine in machines.items()}
    project.write(stack, {"hosts": hosts})
    project.init(stack)


def snapshot(machine: Machine) -> set[str]:
    """Every file of a machine's disk: kind, mode, owner, target of links, content; logs by name, the journal not."""
    ran = machine.run(["sh", "-euc", _SNAPSHOT], timeout_s=120)
    assert ran.code == 0, ran.err
    return set(ran.out.splitlines())
