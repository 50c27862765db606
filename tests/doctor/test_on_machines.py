"""A diagnosis of real machines over SSH: a bare Debian whose sudo asks for a password, a pod, and one that is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.doctor import Diagnosis
from berth.examination import examine
from berth.planner.readiness import State
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import DEBIAN_13_SERVER, PASSWORD, POD
from tests.sshd.fixtures import StartMachine, start_machine
from tests.sshd.machine import SshMachine

__all__ = ["machine_engine", "start_machine"]

pytestmark = pytest.mark.systemd


def way(there: SshMachine, user: str, **more: str) -> dict[str, Any]:
    said = {"host": there.address, "port": there.port, "user": user, "key_file": str(there.key)}
    return {"ssh": {**said, "host_key": " ".join(there.host_key.split()[:2]), **more}}


def states(found: Diagnosis, host: str) -> dict[str, tuple[State, str]]:
    (checks,) = [one.checks for one in found.hosts if one.name == host]
    return {check.about: (check.state, str(check)) for check in checks}


def test_each_host_is_looked_at_and_none_stands_in_for_another(start_machine: StartMachine, tmp_path: Path) -> None:
    bare, pod = start_machine(DEBIAN_13_SERVER, hardware="rtx5090"), start_machine(POD)
    gone = start_machine(POD)
    gone.machine.remove()
    stack = {
        "hosts": {
            "bare": {
                "connection": way(bare, "asks", sudo_password="box_sudo"),
                "gpus": [{"model": "rtx-5090"}],
                "prerequisites": {"driver": {"branch": 580}, "docker": {}},
            },
            "pod": {
                "connection": way(pod, "root"),
                "gpus": [{"model": "a40", "count": 2}],
                "prerequisites": {"container_toolkit": {}},
            },
            "gone": {"connection": way(gone, "root"), "prerequisites": {"docker": {}}},
        }
    }
    path = tmp_path / "three.yaml"
    path.write_text(yaml.safe_dump(stack))
    asked: list[str] = []

    def secret(name: str) -> str:
        asked.append(name)
        return PASSWORD

    found = examine(path, project=tmp_path, secret=secret)
    assert (asked, found.code) == (["box_sudo"], 2)
    here = states(found, "bare")
    assert here["connection"] == (State.OK, "reached as asks")
    assert here["system"][1].startswith("Debian GNU/Linux 13 (trixie), x86_64")
    assert here["driver"] == (State.FAIL, "no NVIDIA driver is installed, must be of branch 580; `pulumi up` brings it")
    assert here["docker"] == (State.FAIL, "Docker is not installed, must be installed; `pulumi up` brings it")
    assert "root" not in here
    rented = states(found, "pod")
    assert rented["gpus"][1].startswith("no NVIDIA GPU is on the machine's bus, must be 2 x a40; ")
    assert rented["docker"][1].endswith("choose a machine whose image or host has it")
    assert states(found, "gone")["connection"][1].startswith("not reached (")
    refused = [check for check in found.plan if check.state is State.FAIL]
    assert [check.about for check in refused] == ["hosts.pod.prerequisites.container_toolkit"]
