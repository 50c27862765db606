"""The connection to a test machine keeps the contract of every connection."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from berth.provider.command import Command, put, shell
from berth.provider.errors import CommandFailed, Unreachable
from tests.machines.connection import MachineConnection
from tests.machines.fixtures import systemd_machine
from tests.machines.machine import Machine

__all__ = ["systemd_machine"]

pytestmark = pytest.mark.systemd


async def test_a_command_gives_status_outputs_and_lines(systemd_machine: Machine) -> None:
    lines: list[str] = []
    command = shell('cat; echo "$1"; echo bad >&2; exit 3', "두 번째", says="asking", stdin=b"first\n")
    result = await MachineConnection(systemd_machine).run(command, lines.append)
    assert (result.status, result.stdout, result.stderr) == (3, "first\n두 번째\n", "bad\n")
    assert sorted(lines) == ["bad", "first", "두 번째"]


async def test_a_file_written_there_is_there(systemd_machine: Machine) -> None:
    result = await MachineConnection(systemd_machine).run(put("/root/new/file", "content\n", mode="0600"))
    assert result.status == 0, result.stderr
    assert systemd_machine.run(["stat", "-c", "%a", "/root/new/file"]).out == "600\n"


async def test_a_command_out_of_time_is_ended_there(systemd_machine: Machine) -> None:
    command = shell("sleep 4242 & wait", says="sleeping", timeout_s=0.5)
    with pytest.raises(CommandFailed, match="ran out of time"):
        await MachineConnection(systemd_machine).run(command)
    assert systemd_machine.run(["pgrep", "-f", "^sleep 4242"]).code == 1


async def test_a_held_command_ends_with_its_caller(systemd_machine: Machine) -> None:
    started = asyncio.Event()
    script = "echo started; cat; touch /run/let-go"
    held = Command(argv=("sh", "-c", script), says="holding", timeout_s=float("inf"), hold=True)
    running = asyncio.create_task(MachineConnection(systemd_machine).run(held, lambda _: started.set()))
    await started.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert systemd_machine.run(["ls", "/run/let-go"]).code == 0


async def test_a_loopback_port_there_is_reached_from_here(systemd_machine: Machine) -> None:
    serve = "[Service]\nExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /etc 8765\n"
    connection = MachineConnection(systemd_machine)
    await connection.run(put("/etc/systemd/system/web.service", serve))
    await connection.run(shell("systemctl daemon-reload; systemctl start web", says="serving"))
    await connection.run(shell("until curl -sf -o /dev/null 127.0.0.1:8765; do :; done", says="waiting"))
    async with connection.forward(8765) as address:
        host, _, port = address.partition(":")
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /hostname HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.0 200")
            assert systemd_machine.run(["cat", "/etc/hostname"]).out.encode() in answer
    await connection.run(shell("systemctl stop web", says="stopping"))


async def test_a_machine_that_is_gone_is_unreachable(systemd_machine: Machine) -> None:
    gone = Machine(systemd_machine.engine, "berth-test-never-was")
    with pytest.raises(Unreachable, match="berth-test-never-was"):
        await MachineConnection(gone).run(shell("true", says="asking"))
