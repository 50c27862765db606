"""`berth doctor` on this machine and on one that does not answer: what is printed, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from berth.cli import app, main
from berth.examination import examine
from berth.lifecycle.errors import LifecycleError
from tests.ports import free_port
from tests.sshd.fixtures import own_ssh_server
from tests.sshd.server import Sshd

__all__ = ["own_ssh_server"]

HERE = """
hosts:
  here: {connection: local}
  far: {connection: {ssh: {host: 127.0.0.1, port: PORT, host_key: KEY, user: me}}}
models:
  tiny:
    source: {random: tiny}
    engine: {name: vllm, version: 0.32.0}
    place: [{host: here}]
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "here.yaml"
    path.write_text(HERE.replace("PORT", str(free_port())).replace("KEY", KEY))
    return path


def test_a_host_that_does_not_answer_fails_and_the_others_are_looked_at(stack: Path) -> None:
    ended = CliRunner().invoke(app, ["doctor", str(stack)])
    assert ended.exit_code == 2, ended.output
    rows = ended.output.splitlines()
    assert rows[0] == "here"
    assert any(row.startswith("  ok       system") for row in rows)
    far = rows[rows.index("far") + 1]
    assert far.startswith("  fail     connection  not reached (")
    assert "Traceback" not in ended.output


def test_programs_get_json(stack: Path) -> None:
    ended = CliRunner().invoke(app, ["doctor", str(stack), "--format", "json"])
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["code"], document["stack"]) == (2, 2, "here")
    assert [check["about"] for check in document["hosts"]["here"]][:2] == ["connection", "system"]
    assert [check["state"] for check in document["hosts"]["far"]] == ["fail"]


@pytest.mark.parametrize("text", ["hosts: [", "hosts: {}"])
def test_a_wrong_file_is_said_and_ends_with_2(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    monkeypatch.setattr("sys.argv", ["berth", "doctor", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "wrong.yaml: " in capsys.readouterr().err


OVER_SSH = """
hosts:
  box: {connection: {ssh: {host: 127.0.0.1, port: PORT, host_key: KEY, user: USER, key_file: FILE}}, root: ROOT}
models:
  tiny:
    source: {random: tiny}
    engine: {name: vllm, version: 0.32.0}
    place: [{host: box}]
"""


def test_a_machine_over_ssh_is_asked_in_one_login(own_ssh_server: Sshd, tmp_path: Path) -> None:
    server, path = own_ssh_server, tmp_path / "far.yaml"
    words = {"PORT": server.port, "KEY": server.host_key, "USER": server.user, "FILE": server.key, "ROOT": tmp_path}
    text = OVER_SSH
    for word, value in words.items():
        text = text.replace(word, str(value))
    path.write_text(text)
    ended = CliRunner().invoke(app, ["doctor", str(path)])
    assert ended.exit_code < 2, ended.output
    assert f"ok       connection  reached as {server.user}" in ended.output
    assert len(server.log().split("Accepted publickey")) - 1 == 1


def test_a_secret_without_a_value_fails_that_host_alone(tmp_path: Path) -> None:
    path = tmp_path / "far.yaml"
    path.write_text(HERE.replace("PORT", "22").replace("user: me", "user: me, sudo_password: sudo").replace("KEY", KEY))

    def secret(name: str) -> str:
        raise LifecycleError(f"pulumi config get: failed\nconfiguration key '{name}' not found")

    found = examine(path, project=tmp_path, secret=secret)
    here, far = found.hosts
    assert {check.about for check in here.checks} >= {"connection", "system"}
    (check,) = far.checks
    assert str(check) == (
        "not reached (pulumi config get: failed configuration key 'sudo' not found), must be reachable; bring it up, "
        "or correct hosts.far.connection"
    )
