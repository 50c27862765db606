"""Commands over a real sshd keep the contract of every connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from berth.provider.command import Command, leashed, put, shell
from berth.provider.connection import login
from berth.provider.errors import CommandFailed, Unreachable
from tests.sshd.fixtures import Connect
from tests.sshd.hostile import HOSTILE
from tests.sshd.server import Sshd


async def alive(marker: str) -> bool:
    """Whether a process with this argument runs."""
    found = await asyncio.create_subprocess_exec("pgrep", "-f", marker, stdout=subprocess.DEVNULL)
    return await found.wait() == 0


async def until_there(marker: str) -> None:
    while not await alive(marker):
        await asyncio.sleep(0.05)


async def until_gone(marker: str) -> None:
    while await alive(marker):
        await asyncio.sleep(0.05)


async def test_a_command_gives_status_outputs_and_lines(ssh_server: Sshd, connect: Connect) -> None:
    lines: list[str] = []
    command = shell('cat; echo "$1"; echo bad >&2; printf end; exit 3', "두 번째", says="asking", stdin=b"first\n")
    result = await connect(ssh_server.settings()).run(command, lines.append)
    assert (result.status, result.stdout, result.stderr) == (3, "first\n두 번째\nend", "bad\n")
    assert sorted(lines) == ["bad", "end", "first", "두 번째"]


async def test_any_argument_arrives_as_it_is(ssh_server: Sshd, connect: Connect) -> None:
    command = Command(argv=("printf", "%s\\0", *HOSTILE), says="printing")
    assert (await connect(ssh_server.settings()).run(command)).stdout.split("\0")[:-1] == HOSTILE


async def test_more_arguments_than_linux_takes_are_refused(ssh_server: Sshd, connect: Connect) -> None:
    with pytest.raises(Unreachable, match=r"^box: printing: its arguments are 14.... bytes, must be below 128 KiB"):
        await connect(ssh_server.settings()).run(shell(":", "x" * 140_000, says="printing"))
    assert (await connect(ssh_server.settings()).run(shell(":", "x" * 129_000, says="printing"))).status == 0


async def test_any_input_arrives_as_it_is(ssh_server: Sshd, connect: Connect, tmp_path: Path) -> None:
    content = bytes(range(256)) + secrets.token_bytes(3_000_000)
    connection = connect(ssh_server.settings())
    result = await connection.run(put(str(tmp_path / "folder/file"), content, mode="0600"))
    assert (result.status, result.stderr) == (0, "")
    assert (tmp_path / "folder/file").read_bytes() == content
    empty = await connection.run(shell("cat; echo over", says="reading nothing"))
    assert empty.stdout == "over\n"


async def test_output_that_is_no_text_is_taken(ssh_server: Sshd, connect: Connect) -> None:
    result = await connect(ssh_server.settings()).run(shell(r"printf 'a\377\000b\nc'", says="printing"))
    assert result.stdout == "a�\0b\nc"


async def test_lines_come_while_the_command_runs(ssh_server: Sshd, connect: Connect, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    command = shell('echo begun; until [ -e "$1" ]; do :; done; echo done', str(go_on), says="working")
    result = await connect(ssh_server.settings()).run(command, lambda _: go_on.touch())
    assert result.stdout == "begun\ndone\n"


async def test_twenty_commands_at_once_share_one_connection(ssh_server: Sshd, connect: Connect) -> None:
    connection = connect(ssh_server.settings())
    results = await asyncio.gather(
        *(connection.run(shell('echo "$1" "${SSH_CONNECTION}"', str(number), says="counting")) for number in range(20))
    )
    answers = [result.stdout.split() for result in results]
    assert [answer[0] for answer in answers] == [str(number) for number in range(20)]
    assert len({tuple(answer[1:]) for answer in answers}) == 1


@pytest.mark.parametrize("own_ssh_server", [("MaxSessions 2",)], indirect=True)
async def test_an_sshd_that_allows_fewer_sessions_gets_fewer(own_ssh_server: Sshd, connect: Connect) -> None:
    connection = connect(own_ssh_server.settings())
    results = await asyncio.gather(*(connection.run(shell("echo on", says="counting")) for _ in range(6)))
    assert [result.stdout for result in results] == ["on\n"] * 6


@pytest.mark.parametrize("own_ssh_server", [("MaxSessions 1",)], indirect=True)
async def test_an_sshd_that_allows_one_session_is_said_so(own_ssh_server: Sshd, connect: Connect) -> None:
    connection = connect(own_ssh_server.settings())
    begun = asyncio.Event()
    held = Command(argv=("sh", "-c", "echo begun; cat"), says="holding", timeout_s=float("inf"), hold=True)
    holding = asyncio.create_task(connection.run(held, lambda _: begun.set()))
    await begun.wait()
    with pytest.raises(Unreachable, match=r"box: asking: the machine gives no session .* see MaxSessions"):
        await connection.run(shell("true", says="asking"))
    holding.cancel()
    await asyncio.wait({holding})


async def test_a_command_out_of_time_is_ended_there(ssh_server: Sshd, connect: Connect) -> None:
    marker = f"4242.{os.getpid()}1"
    command = shell('sleep "$1" & wait', marker, says="sleeping", timeout_s=1)
    with pytest.raises(CommandFailed, match="box: sleeping: the command ran out of time"):
        await connect(ssh_server.settings()).run(command)
    assert not await alive(f"sleep {marker}")


async def test_a_cancelled_command_is_ended_there(ssh_server: Sshd, connect: Connect) -> None:
    marker = f"4242.{os.getpid()}2"
    begun = asyncio.Event()
    command = shell('echo begun; trap "" HUP; sleep "$1"', marker, says="sleeping")
    running = asyncio.create_task(connect(ssh_server.settings()).run(command, lambda _: begun.set()))
    await begun.wait()
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert not await alive(f"sleep {marker}")


async def test_a_command_that_ends_by_a_signal_says_which(ssh_server: Sshd, connect: Connect) -> None:
    result = await connect(ssh_server.settings()).run(shell("kill -s TERM $$", says="ending"))
    assert result.status in {-signal.SIGTERM, 128 + signal.SIGTERM}


async def test_a_held_command_ends_with_its_caller(ssh_server: Sshd, connect: Connect, tmp_path: Path) -> None:
    started = asyncio.Event()
    script = 'echo started; cat; touch "$0"'
    held = Command(
        argv=("sh", "-c", script, str(tmp_path / "let go")), says="holding", timeout_s=float("inf"), hold=True
    )
    running = asyncio.create_task(connect(ssh_server.settings()).run(held, lambda _: started.set()))
    await started.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert (tmp_path / "let go").exists()


HOLD = """
import asyncio, sys
from berth.provider.command import leashed, shell
from berth.provider.connection.settings import SshSettings
from berth.provider.connection.ssh import SshConnection

async def main():
    connection = SshConnection("box", SshSettings.model_validate_json(sys.argv[1]), asyncio.Semaphore(1))
    await connection.run(leashed(shell('echo begun; sleep "$1"', sys.argv[2], says="holding")), print)

asyncio.run(main())
"""


async def test_a_leashed_command_ends_when_its_caller_is_killed(ssh_server: Sshd) -> None:
    marker = f"4242.{os.getpid()}3"
    caller = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", HOLD, ssh_server.settings().model_dump_json(), marker),
        stdout=subprocess.PIPE,
    )
    assert caller.stdout is not None
    assert await caller.stdout.readline() == b"begun\n"
    try:
        await asyncio.wait_for(until_there(f"sleep {marker}"), 10)
    finally:
        caller.kill()
        await caller.wait()
    await asyncio.wait_for(until_gone(f"sleep {marker}"), 10)


async def test_a_command_that_was_running_when_the_connection_dropped_says_what_is_known(
    own_ssh_server: Sshd, connect: Connect
) -> None:
    connection = connect(own_ssh_server.settings())
    marker = f"4242.{os.getpid()}4"
    held = leashed(shell('echo begun; sleep "$1"', marker, says="installing"))
    running = asyncio.create_task(connection.run(held, lambda _: own_ssh_server.drop()))
    with pytest.raises(
        Unreachable,
        match=r"^box: connection lost while installing; it may or may not have completed, run the same again$",
    ):
        await running
    await asyncio.wait_for(until_gone(f"sleep {marker}"), 10)


async def test_a_connection_that_dropped_between_commands_is_made_again(own_ssh_server: Sshd, connect: Connect) -> None:
    connection = connect(own_ssh_server.settings())
    ask = shell('echo "$SSH_CONNECTION"', says="asking")
    before = (await connection.run(ask)).stdout
    own_ssh_server.drop()
    # not even the loop has seen it yet: the next command meets a dead connection
    after = await asyncio.gather(*(connection.run(ask) for _ in range(3)))
    assert {result.stdout for result in after} == {after[0].stdout}
    assert after[0].stdout != before


async def test_a_machine_that_went_away_is_unreachable_at_once_for_all(own_ssh_server: Sshd, connect: Connect) -> None:
    connection = connect(own_ssh_server.settings())
    await connection.run(shell("true", says="asking"))
    own_ssh_server.stop()
    failed = await asyncio.gather(
        *(connection.run(shell("true", says="asking")) for _ in range(5)), return_exceptions=True
    )
    assert {type(error) for error in failed} == {Unreachable}
    assert "nothing listens there" in str(failed[0])


async def test_a_closed_connection_leaves_nothing(own_ssh_server: Sshd, connect: Connect) -> None:
    connection = connect(own_ssh_server.settings())
    await connection.run(shell("true", says="asking"))
    await connection.close()
    await connection.close()
    while own_ssh_server.sessions():
        await asyncio.sleep(0.05)


async def test_a_connection_that_falls_silent_is_given_up(
    own_ssh_server: Sshd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_KEEPALIVE_S", 0.2)
    connection = connect(own_ssh_server.settings())
    begun = asyncio.Event()
    held = Command(argv=("sh", "-c", "echo begun; cat"), says="holding", timeout_s=float("inf"), hold=True)
    running = asyncio.create_task(connection.run(held, lambda _: begun.set()))
    await begun.wait()
    silent = own_ssh_server.sessions()
    for pid in silent:
        os.kill(pid, signal.SIGSTOP)
    try:
        asked = asyncio.create_task(connection.run(shell("echo here", says="asking")))
        with pytest.raises(Unreachable, match="connection lost while holding"):
            await asyncio.wait_for(running, 10)
        assert (await asyncio.wait_for(asked, 10)).stdout == "here\n"
    finally:
        for pid in silent:
            os.kill(pid, signal.SIGKILL)
