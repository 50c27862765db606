"""One writer per host: the lock lies on the host and belongs to whoever holds the connection."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from berth.provider.command import Command, Result, shell
from berth.provider.connection import OnLine
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import BadInput, Busy, CommandFailed
from berth.provider.host import Host, Hosts, HostSettings
from berth.provider.locks import HOLDER


def hosts(workspace: Path, wait_s: float = 0.2) -> Hosts:
    return Hosts({"box": HostSettings(connection="local", workspace=str(workspace), lock_wait_s=wait_s)})


def quiet(_line: str) -> None:
    return None


async def test_a_second_writer_is_told_who_is_in_its_way(tmp_path: Path) -> None:
    workspace = tmp_path / "a b" / "work"
    first, second = hosts(workspace), hosts(workspace)
    await first.writer("box", quiet)
    said: list[str] = []
    who = r"another update, of \S+@\S+ \(process \d+\), at it since 20[-\d]+ [:\d]+ UTC \(\d+ s\),"
    with pytest.raises(Busy, match=rf"^box: {who} changes .*/a b/work and did not end within 0\.2 s; "):
        await second.writer("box", said.append)
    assert re.match(rf"waiting at most 0\.2 s for {who} to end, which changes .*/a b/work$", said[0]), said
    await second.close()
    await first.close()


async def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    first, second = hosts(tmp_path / "work"), hosts(tmp_path / "work", wait_s=10)
    await first.writer("box", quiet)
    said: list[str] = []
    waiting = asyncio.create_task(second.writer("box", said.append))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await first.close()
    await waiting
    await second.close()


async def test_many_changes_of_one_provider_share_its_lock(tmp_path: Path) -> None:
    one = hosts(tmp_path / "work")
    await asyncio.gather(*(one.writer("box", quiet) for _ in range(5)))
    await one.close()


async def test_the_lock_leaves_no_empty_folder_and_a_full_one_alone(tmp_path: Path) -> None:
    one = hosts(tmp_path / "work")
    await one.writer("box", quiet)
    assert [file.name for file in (tmp_path / "work").iterdir()] == [HOLDER]
    await one.close()
    assert not (tmp_path / "work").exists()
    (tmp_path / "work").mkdir()
    (tmp_path / "work/kept").touch()
    two = hosts(tmp_path / "work")
    await two.writer("box", quiet)
    await two.close()
    assert [file.name for file in (tmp_path / "work").iterdir()] == ["kept"]


async def test_a_waiting_writer_locks_the_new_folder_when_the_old_one_was_removed(tmp_path: Path) -> None:
    """As after a destroy: what was waited for is no longer the folder at that path."""
    workspace = tmp_path / "work"
    first, second, third = hosts(workspace), hosts(workspace, wait_s=10), hosts(workspace)
    await first.writer("box", quiet)
    waiting = asyncio.create_task(second.writer("box", quiet))
    await asyncio.sleep(0.2)
    shutil.rmtree(workspace)
    await first.close()
    await waiting
    assert workspace.is_dir()
    with pytest.raises(Busy):
        await third.writer("box", quiet)
    await third.close()
    await second.close()


async def test_who_held_a_removed_folder_leaves_the_new_one_to_its_holder(tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    first, second, third = hosts(workspace), hosts(workspace), hosts(workspace)
    await first.writer("box", quiet)
    shutil.rmtree(workspace)
    await second.writer("box", quiet)
    await first.close()
    assert workspace.is_dir()
    with pytest.raises(Busy):
        await third.writer("box", quiet)
    await third.close()
    await second.close()


async def test_a_provider_that_waits_for_the_lock_can_be_closed(tmp_path: Path) -> None:
    first, second = hosts(tmp_path / "work"), hosts(tmp_path / "work", wait_s=30)
    await first.writer("box", quiet)
    waiting = asyncio.create_task(second.writer("box", quiet))
    await asyncio.sleep(0.2)
    waiting.cancel()
    began = time.monotonic()
    await second.close()
    assert time.monotonic() - began < 5
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await first.close()


async def test_a_workspace_that_cannot_be_made_is_no_rival(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one = hosts(tmp_path / "file/work")
    with pytest.raises(CommandFailed, match=r"the lock of .*/file/work: the command ended with status 1:\nmkdir"):
        await one.writer("box", quiet)
    await one.close()


async def test_a_host_nobody_declared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^host 'bix' is not one of the stack's hosts \(box\); declare it under hosts$"):
        hosts(tmp_path).reader("bix")


async def test_a_failure_shows_the_last_lines_and_not_the_input(host: Host) -> None:
    command = shell("cat > /dev/null; seq 1 50 >&2; exit 3", stdin=b"s3cret", says="counting")
    with pytest.raises(CommandFailed) as caught:
        await host.run(command)
    lines = str(caught.value).splitlines()
    assert lines[0] == "box: counting: the command ended with status 3:"
    assert lines[1:] == [str(number) for number in range(31, 51)]


async def test_running_is_said_and_looking_is_not(host: Host, said: list[str]) -> None:
    await host.run(shell(":", says="working"))
    await host.quietly().run(shell(":", says="looking"))
    assert said == ["working"]


class Counted(LocalConnection):
    """This machine, with what was run on it."""

    def __init__(self, name: str, run_first: Sequence[Command] = ()) -> None:
        super().__init__(name)
        self.ran: list[Command] = []
        self.instead = list(run_first)

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """Runs the next of `instead` in a command's place, as long as there is one."""
        self.ran.append(command)
        return await super().run(self.instead.pop(0) if self.instead else command, on_line)


async def test_all_who_ask_for_facts_wait_for_one_look_until_something_changes(tmp_path: Path) -> None:
    connection = Counted("box")
    host = Host(name="box", workspace=str(tmp_path), connection=connection, say=quiet)
    first, *others = await asyncio.gather(*(host.facts() for _ in range(5)))
    assert all(one is first for one in others)
    assert await replace(host, say=print).facts() is first
    assert len(connection.ran) == 1
    host.gathered.forget()
    assert (await host.facts()).gathered > first.gathered
    assert len(connection.ran) == 2


async def test_a_failed_look_is_not_remembered(tmp_path: Path) -> None:
    connection = Counted("box", [shell("echo Welcome", says="a menu in the shell's place")])
    host = Host(name="box", workspace=str(tmp_path), connection=connection, say=quiet)
    with pytest.raises(CommandFailed, match=r"looking at box: .*\n.*cut off"):
        await host.facts()
    assert (await host.facts()).kernel
