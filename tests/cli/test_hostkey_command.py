"""`berth hostkey` against a real sshd."""

from __future__ import annotations

from typer.testing import CliRunner

from berth.cli import app
from tests.ports import free_port
from tests.sshd.fixtures import ssh_server
from tests.sshd.server import Sshd

__all__ = ["ssh_server"]


def test_the_fingerprint_and_the_line_to_paste(ssh_server: Sshd) -> None:
    shown = CliRunner().invoke(app, ["hostkey", "127.0.0.1", "--port", str(ssh_server.port)])
    assert shown.exit_code == 0
    assert "SHA256:" in shown.stdout
    assert f"  host_key: {' '.join(ssh_server.host_key.split()[:2])}" in shown.stdout


def test_a_machine_that_does_not_answer() -> None:
    port = free_port()
    shown = CliRunner().invoke(app, ["hostkey", "127.0.0.1", "--port", str(port)])
    assert shown.exit_code == 1
    assert f"127.0.0.1: ssh 127.0.0.1:{port}: nothing listens there" in shown.stderr
