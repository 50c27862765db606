"""A stack on a machine reached over SSH: a real sshd on this one, asked, changed and cleared through it alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from light import stack
from project import Project
from standin import install

from tests.sshd.fixtures import own_ssh_server
from tests.sshd.server import Sshd

__all__ = ["own_ssh_server"]

pytestmark = pytest.mark.pulumi


def over_ssh(server: Sshd, project: Project, port: int, environment: Path) -> dict[str, Any]:
    """The light stack on a host behind an sshd."""
    made = stack(port, environment)
    said = {"host": "127.0.0.1", "port": server.port, "user": server.user}
    keys = {"host_key": server.host_key, "key_file": str(server.key)}
    made["hosts"]["here"] |= {"connection": {"ssh": {**said, **keys}}, "root": str(project.root / ".berth/hosts")}
    return made


def test_up_unchanged_gone_and_destroyed(
    project: Project,
    own_ssh_server: Sshd,
    ports: Callable[[], int],
    tmp_path: Path,
) -> None:
    environment = install(tmp_path / "engine")
    project.write("far", over_ssh(own_ssh_server, project, ports(), environment))
    project.init("far")
    project.up("far").ok()
    assert all(result["streamed_tokens"] > 0 for result in project.outputs("far")["smoke"].values())
    project.unchanged("far").ok()
    assert len(own_ssh_server.log().split("Accepted publickey")) - 1 == 2, "one login for each run of Pulumi"
    own_ssh_server.stop()
    gone = project.unchanged("far").ok()
    assert "hosts.here: not reached (ssh " in gone.output
    assert "nothing listens there; start sshd on that machine" in gone.output
    assert "; planned with facts of " in gone.output
    assert "Traceback" not in gone.output
    own_ssh_server.start()
    project.destroy("far").ok()
    assert project.processes() == {}
    assert not project.workspace("far").exists()


def test_a_connection_cut_amid_the_first_up(
    project: Project,
    own_ssh_server: Sshd,
    ports: Callable[[], int],
    tmp_path: Path,
) -> None:
    project.write("cut", over_ssh(own_ssh_server, project, ports(), install(tmp_path / "engine")))
    project.init("cut")
    with project.start("cut", "up", "--yes", "--skip-preview") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "installing" in line:
                own_ssh_server.drop()
                break
        output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "here: connection lost while installing" in output
    # Which of the two depends on whether the command had begun at the moment of the cut.
    known = r"(it may or may not have completed|it is not known whether it began), run the same again"
    assert re.search(known, output), output
    project.up("cut").ok()
    project.unchanged("cut").ok()
    project.destroy("cut").ok()
    assert project.processes() == {}
