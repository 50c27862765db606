"""A network that is lost without a word: every packet is dropped, and nothing says so to either side."""

from __future__ import annotations

import asyncio
import time

import pytest

from berth.provider.command import Command, shell
from berth.provider.connection import login
from berth.provider.errors import Unreachable
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import POD
from tests.sshd.fixtures import Connect, StartMachine, start_machine

__all__ = ["machine_engine", "start_machine"]

KEEPALIVE_S, GENEROUS = 0.5, 20


@pytest.mark.docker
async def test_it_is_noticed_within_the_keepalive_limit_and_the_next_command_goes_on(
    start_machine: StartMachine, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_KEEPALIVE_S", KEEPALIVE_S)
    there = start_machine(POD)
    connection = connect(there.settings("root"))
    begun = asyncio.Event()
    held = Command(argv=("sh", "-c", "echo begun; cat"), says="installing", timeout_s=float("inf"), hold=True)
    running = asyncio.create_task(connection.run(held, lambda _: begun.set()))
    await begun.wait()
    with there.machine.without_network():
        cut = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            await asyncio.wait_for(running, 60)
        noticed_s = time.monotonic() - cut
    assert str(caught.value) == (
        "box: connection lost while installing; it may or may not have completed, run the same again"
    )
    assert noticed_s < GENEROUS * KEEPALIVE_S * login._KEEPALIVES
    assert (await connection.run(shell("echo here", says="asking"))).stdout == "here\n"
