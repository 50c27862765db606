"""A stack on a machine reached over SSH: a real sshd on this one, asked, changed and cleared through it alone."""

from __future__ import annotations

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
    gone = project.unchanged("far")
    assert gone.status != 0
    assert "nothing listens there; start sshd on that machine" in gone.output
    assert "Traceback" not in gone.output
    own_ssh_server.start()
    project.destroy("far").ok()
    assert project.processes() == {}
    assert not project.workspace("far").exists()
