"""`berth facts`: a machine recorded as a user would, through a real sshd and from a stack file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from berth import cli, record
from berth.facts import HostFacts
from berth.facts.store import Store
from berth.lifecycle.project import Project
from tests.sshd.fixtures import ssh_server
from tests.sshd.server import Sshd

__all__ = ["ssh_server"]

STACK = """
hosts:
  box: {connection: local}
models:
  tiny:
    source: {random: tiny}
    engine: {name: vllm, version: 0.32.0, device: cpu}
    place: [{host: box}]
    context: 512
    kv_cache: 64 MiB
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two stacks, which the command takes for its own."""
    (tmp_path / "stacks").mkdir()
    for name in ("one", "two"):
        (tmp_path / "stacks" / f"{name}.yaml").write_text(STACK)
    monkeypatch.setattr(Project, "here", classmethod(lambda cls: cls(tmp_path)))
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["facts", *arguments])
    said = done.output if done.exception is None or isinstance(done.exception, SystemExit) else str(done.exception)
    return done.exit_code, said


def test_a_host_of_a_stack_file_is_recorded_and_read_back(project: Path) -> None:
    code, said = run("box", "--stack", "one")
    assert code == 0, said
    assert "before you commit it" in said
    facts = Store(project, "one").last_known("box")
    assert facts is not None
    assert facts.boot_id == "00000000-0000-0000-0000-000000000000"


def test_a_machine_that_no_stack_knows(project: Path, ssh_server: Sshd) -> None:
    keys = ("--host-key", ssh_server.host_key, "--key-file", str(ssh_server.key), "--port", str(ssh_server.port))
    code, said = run(f"{ssh_server.user}@127.0.0.1", *keys, "--show")
    assert code == 0, said
    assert HostFacts.model_validate_json(said).cores >= 1
    assert not (project / "stacks/facts").exists()
    code, said = run(f"{ssh_server.user}@127.0.0.1", *keys, "--name", "Big Box")
    assert code != 0
    assert "its stack is not said, must be; say --stack NAME" in said
    code, said = run(f"{ssh_server.user}@127.0.0.1", *keys, "--name", "Big Box", "--stack", "two")
    assert code == 0, said
    assert "cores" in json.loads((project / "stacks/facts/two/big-box.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("box",), "host box: stacks one, two have it; say --stack"),
        (("bix",), "host bix: no stack file declares it"),
        (("box", "--stack", "three"), "stack three: the file: cannot be read"),
        (("box", "--port", "2222"), "--port: is given for box, goes with USER@HOST alone; leave one of them out"),
        (("@box", "--show"), "@box: must be USER@HOST, or a host of a stack file; name both"),
    ],
)
def test_what_cannot_be_recorded(project: Path, arguments: tuple[str, ...], said: str) -> None:
    del project
    code, text = run(*arguments)
    assert code != 0
    assert said in text


def test_a_machine_that_does_not_answer(project: Path) -> None:
    code, said = run("me@127.0.0.1", "--port", "1", "--stack", "one")
    assert (code, project.joinpath("stacks/facts").exists()) == (1, False)
    assert "127-0-0-1: ssh " in said


def test_recording_again_changes_the_file_alone(project: Path) -> None:
    record.of_stack("box", "one").write()
    before = sorted(project.rglob("*"))
    record.of_stack("box", "one").write()
    assert sorted(project.rglob("*")) == before
