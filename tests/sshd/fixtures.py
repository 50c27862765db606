"""Pytest fixtures of SSH servers. Import them in the `conftest.py` of the folder that uses them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from berth.provider.connection.settings import SshSettings
from berth.provider.connection.ssh import SshConnection
from tests.machines.engine import Engine
from tests.machines.fixtures import or_skip
from tests.machines.kinds import DEBIAN_13_SERVER, Kind
from tests.sshd.machine import SshMachine, start
from tests.sshd.server import Sshd, make_sshd

Connect = Callable[[SshSettings], SshConnection]


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd for all tests of a process that leave it as it is."""
    with _available(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def own_ssh_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sshd]:
    """An sshd of this test alone; a parameter holds lines of its configuration."""
    with _available(tmp_path / "sshd", *getattr(request, "param", ())) as server:
        yield server


@pytest.fixture(scope="session")
def ssh_machine(machine_engine: Engine) -> Iterator[SshMachine]:
    """A machine with sshd and sudo for all tests of a process; import `machine_engine` beside it."""
    with or_skip("machine with sshd and sudo"):
        started = start(machine_engine, DEBIAN_13_SERVER)
    yield started
    started.machine.remove()


class StartMachine(Protocol):
    """Starts a machine of a kind; see `tests.sshd.machine.start`."""

    def __call__(self, kind: Kind, *, hardware: str = "none", repository: Path | None = None) -> SshMachine:
        """One that ends with its test."""


@pytest.fixture
def start_machine(machine_engine: Engine) -> Iterator[StartMachine]:
    """Starts machines for one test alone; import `machine_engine` beside it."""
    started: list[SshMachine] = []

    def start_one(kind: Kind, *, hardware: str = "none", repository: Path | None = None) -> SshMachine:
        with or_skip(f"machine of kind {kind.name}"):
            started.append(start(machine_engine, kind, hardware=hardware, repository=repository))
        return started[-1]

    yield start_one
    for one in started:
        one.machine.remove()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes connections that are closed with the test."""
    made: list[SshConnection] = []
    logins = asyncio.Semaphore(8)

    def make(settings: SshSettings) -> SshConnection:
        made.append(SshConnection("box", settings, logins))
        return made[-1]

    yield make
    for connection in made:
        await connection.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for the ssh client with an empty .ssh and no agent."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@contextlib.contextmanager
def _available(folder: Path, *options: str) -> Iterator[Sshd]:
    """An sshd, or the end of the test."""
    with or_skip("SSH server"):
        server = make_sshd(folder, *options)
    with server.running():
        yield server
