"""Two updates of one machine: side by side in their own folders, one after the other in what is everybody's."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from berth.provider import locks
from berth.provider.command import Command, Result, shell
from berth.provider.connection import OnLine
from berth.provider.connection.local import LocalConnection
from berth.provider.connection.settings import OverSsh
from berth.provider.errors import Busy, CommandFailed
from berth.provider.host import Hosts, HostSettings
from berth.provider.locks import Locks
from berth.provider.operations.user import User, UserWant
from tests.machines.faults import end_connections
from tests.machines.fixtures import machine_engine
from tests.sshd.fixtures import own_ssh_server, ssh_machine
from tests.sshd.machine import SshMachine
from tests.sshd.server import Sshd

__all__ = ["machine_engine", "own_ssh_server", "ssh_machine"]

SOMEBODY = r"another update, of \S+@\S+ \(process \d+\) for \S+/one, at it since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
Open = Callable[..., Hosts]


def quiet(_line: str) -> None:
    return None


@pytest.fixture
def as_root() -> None:
    """Rights of root on this machine: the lock of a host is root's."""
    if os.geteuid() != 0 and subprocess.run(["sh", "-c", "sudo -n true"], check=False).returncode != 0:
        pytest.skip("there are no rights of root here")


@pytest.fixture
async def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_root: None) -> AsyncIterator[Open]:
    """Stacks of this machine, with a lock of their own in place of the machine's."""
    del as_root
    monkeypatch.setattr(locks, "HOST_LOCK", str(tmp_path / "lock"))
    made: list[Hosts] = []

    def open_stack(name: str, wait_s: float = 0.2) -> Hosts:
        settings = HostSettings(connection="local", workspace=str(tmp_path / name), lock_wait_s=wait_s)
        made.append(Hosts({"box": settings}))
        return made[-1]

    yield open_stack
    for hosts in made:
        await hosts.close()


async def test_two_stacks_change_their_own_folders_at_once(local: Open) -> None:
    await local("one").writer("box", quiet)
    await local("two").writer("box", quiet)


async def test_who_changes_the_host_itself_is_named_to_whoever_comes_meanwhile(local: Open) -> None:
    await (await local("one").writer("box", quiet)).alone()
    said: list[str] = []
    second = await local("two").writer("box", said.append)
    refused = rf"^box: {SOMEBODY} \(\d+ s\), changes the host itself \(packages, Docker, drivers\) and did not end "
    with pytest.raises(Busy, match=rf"{refused}within 0\.2 s; wait for it, or end it, and run this again$"):
        await second.alone()
    assert re.match(rf"waiting at most 0\.2 s for {SOMEBODY}", said[0]), said
    with pytest.raises(Busy):  # told at once: nobody waits again for each resource
        await asyncio.wait_for(second.alone(), 0.1)


async def test_what_was_known_of_the_host_is_looked_at_anew_after_waiting(local: Open) -> None:
    first = local("one")
    await (await first.writer("box", quiet)).alone()
    said: list[str] = []
    second = await local("two", 30).writer("box", said.append)
    before = await second.facts()
    waiting = [asyncio.create_task(second.alone()) for _ in range(3)]
    async with asyncio.timeout(30):
        while not any(line.startswith("waiting at most 30 s for another update") for line in said):
            await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    await first.close()
    await asyncio.gather(*waiting)
    after = await second.facts()
    assert after.gathered > before.gathered
    await second.alone()
    assert await second.facts() is after, "a lock that is held costs nothing"


class Complaining(LocalConnection):
    """Stands in for a host whose commands complain last of all, as sudo does of a host name that it cannot resolve."""

    def __init__(self, words: str | None = None) -> None:
        super().__init__("box")
        self._words = words

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        result = await super().run(command, on_line)
        if on_line is not None:
            on_line("sudo: unable to resolve host box")
        return result if self._words is None or not command.root else replace(result, stdout=self._words)


async def test_a_complaint_after_its_word_is_not_taken_for_the_lock(local: Open, tmp_path: Path) -> None:
    await (await local("one").writer("box", quiet)).alone()
    second, taken = Locks("box", str(tmp_path / "two"), Complaining(), 0.2), list[str]()
    with pytest.raises(Busy):
        await second.host(quiet, lambda: taken.append("taken"))
    await second.close()
    silent = Locks("box", str(tmp_path / "three"), Complaining(words=""), 0.2)
    with pytest.raises(CommandFailed, match="making sure that nobody else changes box"):
        await silent.host(quiet, lambda: taken.append("taken"))
    await silent.close()
    assert taken == []


async def test_a_lock_ends_with_the_update_that_was_killed(local: Open, tmp_path: Path) -> None:
    first = local("one")
    await (await first.writer("box", quiet)).alone()
    holder = first._locks["box"]._folder
    assert holder is not None
    killed = shell('kill -KILL "$1"', holder.result().process, says="killing what holds the folder")
    await first.reader("box").run(killed)
    await (await local("two", 30).writer("box", quiet)).alone()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("own_ssh_server", [("MaxSessions 2",)], indirect=True)
async def test_it_takes_none_of_the_sessions_that_sshd_allows(
    own_ssh_server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_root: None
) -> None:
    """The folder's lock has one of the two for as long as the update lasts."""
    del as_root
    monkeypatch.setattr(locks, "HOST_LOCK", str(tmp_path / "lock"))
    connection = OverSsh(ssh=own_ssh_server.settings())
    hosts = Hosts({"box": HostSettings(connection=connection, workspace=str(tmp_path / "work"))})
    host = await hosts.writer("box", quiet)
    await host.alone()
    assert (await host.run(shell("echo here", says="asking"))).stdout == "here\n"
    await hosts.close()


@pytest.mark.systemd
async def test_stacks_of_two_users_with_two_folders_and_what_a_cut_leaves(ssh_machine: SshMachine) -> None:
    def stack(user: str, name: str, wait_s: float) -> Hosts:
        connection = OverSsh(ssh=ssh_machine.settings(user))
        return Hosts({"box": HostSettings(connection=connection, workspace=f"stacks/{name}", lock_wait_s=wait_s)})

    said: list[str] = []
    root, free = stack("root", "one", 0.2), stack("free", "two", 60)
    of_root = await root.writer("box", quiet)
    waits = await free.writer("box", said.append)
    want = UserWant(host="box", name="cannot", groups=["games"])
    await of_root.alone()
    waiting = asyncio.create_task(User().converge(waits, want, want))
    while not said:
        await asyncio.sleep(0.05)
    assert re.match(rf"waiting at most 60 s for {SOMEBODY}", said[-1]), said
    assert await User().converge(of_root, want, want) == want
    end_connections(ssh_machine.machine)
    with pytest.raises(Exception, match="connection lost while making sure that nobody else changes box"):
        await waiting
    assert await User().converge(waits, want, want) == want
    assert not any("games" in line for line in said), "what the other one did meanwhile was seen, and not done again"
    other = want.model_copy(update={"groups": ["games", "audio"]})
    assert await User().converge(waits, other, other) == other, "nobody else holds it any more"
    with pytest.raises(Busy, match=r"for stacks/two, at it since"):
        await (await root.writer("box", quiet)).alone()
    await root.close()
    await free.close()
