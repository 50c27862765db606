"""`berth import`: from a machine to a stack file as a user would, on this machine and through a real sshd."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from berth import cli
from berth.lifecycle.project import Project
from berth.spec import load
from tests.ports import free_port
from tests.sshd.fixtures import ssh_server
from tests.sshd.server import Sshd

__all__ = ["ssh_server"]

NAME = f"one-{os.getpid()}"
"""Other tests may run engines on this machine."""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """That of an engine that runs on this machine, with a secret on its command line and one in its environment."""
    program, port = tmp_path / "vllm", free_port()
    program.write_text("import time; time.sleep(600)")
    words = ["serve", "org/model", "--served-model-name", NAME, "org/model", "--port", str(port)]
    words += ["--max-model-len", "512", "--api-key", "sk-notReal"]
    environment = {**os.environ, "VLLM_API_KEY": "sk-notReal", "VLLM_LOGGING_LEVEL": "INFO"}
    with subprocess.Popen([sys.executable, str(program), *words], env=environment) as process:
        try:
            deadline = time.monotonic() + 30
            while b"org/model" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                assert time.monotonic() < deadline
            yield port
        finally:
            process.kill()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without stacks, which the command takes for its own; no Docker answers here."""
    (tmp_path / "stacks").mkdir()
    monkeypatch.setattr(Project, "here", classmethod(lambda cls: cls(tmp_path)))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["import", *arguments])
    said = done.output if done.exception is None or isinstance(done.exception, SystemExit) else str(done.exception)
    return done.exit_code, said


def test_a_process_of_this_machine_becomes_a_model(project: Path, port: int) -> None:
    file = project / "stacks/here.yaml"
    code, said = run("local", "--output", str(file))
    assert (code, NAME in said) == (0, True), said
    text = file.read_text()
    found = load(file).models[NAME]
    (revision,) = found.revisions.values()
    assert (found.aliases, revision.context, revision.place[0].port) == (("org/model",), 512, port)
    assert revision.adopt is not None
    assert revision.adopt.process
    assert revision.environment == {"VLLM_LOGGING_LEVEL": "INFO"}
    assert dict(revision.secrets) == {"VLLM_API_KEY": "vllm_api_key"}
    assert "sk-notReal" not in text
    assert "# --api-key is left out: it looks like a secret" in text
    assert "the commit of its weights is not known" in text
    assert "its engine asks for a key of its own" in text
    assert found.prove.smoke == ()
    code, said = run("local", "--output", str(file))
    assert (code, "is there already" in said) == (2, True)
    assert file.read_text() == text


def test_a_machine_over_ssh(project: Path, port: int, ssh_server: Sshd) -> None:
    del project
    keys = ("--host-key", ssh_server.host_key, "--key-file", str(ssh_server.key), "--port", str(ssh_server.port))
    code, said = run(f"{ssh_server.user}@127.0.0.1", *keys, "--name", "far")
    assert code == 0, said
    assert "far:\n    connection:" in said
    assert f"port: {port}" in said


def test_a_machine_without_engines_and_a_host_of_no_stack(project: Path) -> None:
    del project
    code, said = run("bix")
    assert (code, "host bix: no stack file declares it" in said) == (2, True)
    code, said = run("me@bix", "--stack", "one")
    assert (code, "--stack: is given for me@bix" in said) == (1, True)
    if sys.platform == "linux":
        code, said = run("local")
        assert code in {0, 2}  # another test's engine may run here
