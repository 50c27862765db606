"""Two machines over SSH of which one goes away: it fails alone, is planned as last known, and can be forgotten."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from light import stack
from project import Done, Project
from standin import install

from tests.sshd.fixtures import own_ssh_server
from tests.sshd.server import Sshd, make_sshd

__all__ = ["own_ssh_server"]

pytestmark = pytest.mark.pulumi

SECRET = "a-secret-of-the-state"


@pytest.fixture
def other_ssh_server(own_ssh_server: Sshd) -> Iterator[Sshd]:
    """A second machine; `own_ssh_server` has seen to it that there can be one."""
    server = make_sshd(own_ssh_server.folder.parent / "other")
    with server.running():
        yield server


def host(server: Sshd, project: Project, name: str, port: int) -> dict[str, Any]:
    """A host behind an sshd, with a folder and ports of its own."""
    ssh = {"host": "127.0.0.1", "port": server.port, "user": server.user}
    return {
        "connection": {"ssh": {**ssh, "host_key": server.host_key, "key_file": str(server.key)}},
        "runtime": "process",
        "root": str(project.root / ".berth/hosts" / name),
        "init": "supervisord",
        "engine_ports": port,
    }


def forget(project: Project, name: str, stack: str) -> Done:
    """Runs the command in the copy of the project."""
    command = [sys.executable, "-m", "berth.cli", "forget", name, "--stack", stack, "--yes"]
    ran = subprocess.run(
        command, cwd=project.root, env=project.environment(stack), capture_output=True, text=True, check=False
    )
    return Done(ran.returncode, ran.stdout + ran.stderr)


def test_a_host_that_goes_away(
    project: Project, own_ssh_server: Sshd, other_ssh_server: Sshd, ports: Callable[[], int], tmp_path: Path
) -> None:
    made = stack(ports(), install(tmp_path / "engine"), ("near", "far"))
    base = made["hosts"]["here"]["engine_ports"]
    made["hosts"] = {
        "one": host(own_ssh_server, project, "one", base),
        "two": host(other_ssh_server, project, "two", base + 1000),
    }
    made["models"]["near"]["place"] = [{"host": "one"}]
    made["models"]["far"]["place"] = [{"host": "two"}]
    del made["gateway"]
    project.write("two", made)
    project.init("two")
    project.pulumi("two", "config", "set", "--secret", "kept", SECRET).ok()
    project.up("two").ok()

    # away: shown as last known, and only what is to change there fails
    other_ssh_server.stop()
    away = project.unchanged("two").ok()
    assert "hosts.two: not reached (ssh " in away.output
    assert "; planned with facts of " in away.output
    for model in ("near", "far"):
        made["models"][model]["context"] = 256
    project.write("two", made)
    failed = project.up("two")
    assert failed.status != 0
    assert "two: ssh " in failed.output
    assert "~ 1 updated" in failed.output, failed.output
    assert "errored" in failed.output
    assert "two-workspace" in project.state("two")
    assert "Traceback" not in failed.output

    # gone for good
    refused = forget(project, "two", "two")
    assert refused.status == 1
    assert "hosts.two is declared, must not be any more" in refused.output
    del made["hosts"]["two"], made["models"]["far"]
    project.write("two", made)
    stuck = project.up("two")
    assert stuck.status != 0
    assert "berth forget two --stack two" in stuck.output
    forgotten = forget(project, "two", "two").ok()
    assert "two-workspace (berth:host:Workspace)" in forgotten.output
    assert "near" not in forgotten.output
    assert "two-workspace" not in project.state("two")
    assert SECRET not in project.state("two")

    # never seen: the others are shown, it alone is the problem, and nothing is deleted
    made["hosts"]["three"] = host(other_ssh_server, project, "three", base + 2000)
    made["models"]["near"]["context"] = 384
    project.write("two", made)
    unseen = project.pulumi("two", "preview", "--diff")
    assert unseen.status != 0
    assert "hosts.three: not reached (ssh " in unseen.output
    assert "nothing is known of it from before" in unseen.output
    assert "256 => 384" in unseen.output
    assert "~ 2 to update" in unseen.output, "that replica, and the provider that knows one more host"
    assert "delete" not in unseen.output
    assert "Traceback" not in unseen.output
    assert "RuntimeWarning" not in unseen.output
