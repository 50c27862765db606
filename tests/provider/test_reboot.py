"""What is said when a machine that was told to reboot does not; a real reboot is shown in test_nvidia_machine.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from berth.provider import reboot as module
from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.errors import CommandFailed, RebootNeeded, Unreachable
from berth.provider.host import Host
from berth.provider.reboot import reboot


class Machine:
    """STAND-IN for a machine that answers as told: with its boot, `dead` for none, `booting` before it is up."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.closed = 0
        self.told = 0

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        del on_line
        if command.root:
            self.told += 1
            return Result(status=0, stdout="", stderr="")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "dead":
            raise Unreachable("box: connection lost")
        return Result(status=4 if answer == "booting" else 0, stdout=f"{answer}\n7\n", stderr="")

    @asynccontextmanager
    async def forward(self, port: int) -> AsyncIterator[str]:
        yield f"127.0.0.1:{port}"

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ASK_AGAIN_S", 0)


async def rebooted(machine: Machine, limit_s: float = 5) -> None:
    host = Host(name="box", workspace="/w", connection=machine, say=lambda _line: None)
    await reboot(host, why="driver 580 on disk, nouveau loaded", limit_s=limit_s)


async def test_it_is_waited_for_until_another_boot_is_up() -> None:
    machine = Machine(["first", "first", "dead", "dead", "second", "booting", "second", "up"])
    await rebooted(machine)
    assert machine.answers == ["up"]
    assert (machine.told, machine.closed) == (1, 2), "a lost connection is given up, not remembered"


async def test_one_that_does_not_go_down_is_said() -> None:
    with pytest.raises(RebootNeeded, match=r"nouveau loaded; it was told to reboot and did not go down within 0 s"):
        await rebooted(Machine(["first"]), limit_s=0.05)


async def test_one_that_does_not_come_back_is_said() -> None:
    with pytest.raises(Unreachable, match=r"did not come back within 0 s of its reboot .*look at its console"):
        await rebooted(Machine(["first", "dead"]), limit_s=0.05)


async def test_one_that_refuses_is_not_waited_for() -> None:
    class Refusing(Machine):
        async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
            result = await super().run(command, on_line)
            return Result(status=1, stdout="", stderr="Operation inhibited by root") if command.root else result

    with pytest.raises(CommandFailed, match="inhibited"):
        await rebooted(Refusing(["first"]))


async def test_the_machine_that_this_runs_on_is_never_rebooted() -> None:
    boot, start = module._own_mark().split("\n")

    class Own(Machine):
        async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
            await super().run(command, on_line)
            return Result(status=0, stdout=f"{boot}\n{start}\n", stderr="")

    own = Own(["first"])
    with pytest.raises(RebootNeeded, match="never rebooted from here"):
        await rebooted(own)
    assert own.told == 0
