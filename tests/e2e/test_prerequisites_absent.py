"""Machines that a stack does not change: what they lack ends the preview, a line each, and nothing is touched."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from prerequisites.playground import gpu_host, snapshot
from project import Done, Project

from tests.machines.engine import Engine
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import DEBIAN_13_SERVER, POD
from tests.machines.repository.local import local_repository
from tests.sshd.fixtures import StartMachine, start_machine
from tests.sshd.machine import SshMachine

__all__ = ["machine_engine", "start_machine"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd]


def preview(project: Project, there: SshMachine, **host: Any) -> Done:
    """A preview of the RTX 5090's own stack file with its machine replaced by another one."""
    stack = yaml.safe_load((project.root / "stacks" / "rtx5090.yaml").read_text())
    key = {"key_file": str(there.key), "host_key": " ".join(there.host_key.split()[:2])}
    ssh = {"host": there.address, "port": there.port, "user": "root", **key}
    stack["hosts"]["box"] |= {"connection": {"ssh": ssh}, **host}
    project.write("other", stack)
    project.init("other")
    return project.pulumi("other", "preview")


def refusals(done: Done) -> set[str]:
    """What Pulumi lists as errors: where, and what is; what must be and what to do is said as well."""
    lines = re.findall(r"^    error: (.*)$", done.output, re.MULTILINE)
    assert all(", must be " in line for line in lines)
    return {re.split(r", must| and ", line)[0] for line in lines}


def test_what_is_not_declared_is_verified(project: Project, start_machine: StartMachine) -> None:
    there = start_machine(DEBIAN_13_SERVER, hardware="rtx5090")
    before = snapshot(there.machine)
    done = preview(project, there, prerequisites={})
    assert done.status != 0
    assert refusals(done) == {
        "hosts.box: no NVIDIA driver is installed",
        "hosts.box: Docker is not installed",
        "hosts.box: the NVIDIA container toolkit is not installed",
    }
    assert snapshot(there.machine) == before


def test_what_a_pod_cannot_have_is_refused(
    project: Project, start_machine: StartMachine, machine_engine: Engine
) -> None:
    there = start_machine(POD)
    done = preview(project, there, prerequisites=gpu_host(there, local_repository(machine_engine))["prerequisites"])
    assert done.status != 0
    parts = ("container_toolkit", "docker", "driver", "limits", "users")
    assert refusals(done) == {f"hosts.box.prerequisites.{part}: is declared" for part in parts}
    assert "container (docker) without systemd, where it cannot be changed, must be left out" in done.output
