"""A connection to a test machine, so that operations meet a host with systemd through the protocol they always use."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import Unreachable
from tests.machines.machine import Machine

_RELAY = Path(__file__).with_name("relay.py")


class MachineConnection:
    """Runs commands in a test machine as its root. Each is in the process group of its caller's."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._local = LocalConnection(machine.name)

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """See `Connection.run`."""
        reads = command.hold or command.stdin is not None
        argv = tuple(self._machine.argv(*command.argv, interactive=reads))
        result = await self._local.run(replace(command, argv=argv), on_line)
        if result.stderr.startswith(("Error response from daemon", "nsenter: ")):
            raise Unreachable(f"{self._machine.name}: {command.says}: {result.stderr.strip()}")
        return result

    @contextlib.asynccontextmanager
    async def forward(self, port: int) -> AsyncIterator[str]:
        """See `Connection.forward`: a socket that listens here, served by a process in the machine's network."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            enter = ("nsenter", "--target", str(self._machine.pid), "--net")
            relay = await asyncio.create_subprocess_exec(
                *(*enter, sys.executable, "-I", "-S", str(_RELAY), str(listening.fileno()), str(port)),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=[listening.fileno()],
            )
            try:
                yield f"127.0.0.1:{listening.getsockname()[1]}"
            finally:
                if relay.stdin is not None:
                    relay.stdin.close()
                await relay.wait()

    async def close(self) -> None:
        """Nothing is held open between commands."""
