"""How commands reach a host: one protocol, one module for each way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from berth.provider.command import Command, Result

OnLine = Callable[[str], None]
"""Called with each line that a command writes, without its end, as it comes."""


class Connection(Protocol):
    """A way to one host. Implementations assume a POSIX sh there and nothing else."""

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """Runs a command to its end.

        Raises:
            Unreachable: the host did not answer.
            CommandFailed: the command ran out of its time; a status is returned, never raised.
        """
        ...

    def forward(self, port: int) -> AbstractAsyncContextManager[str]:
        """Opens a way to a loopback port of the host; gives `127.0.0.1:PORT` as seen from here."""
        ...

    async def close(self) -> None:
        """Ends the connection, and commands that still run with it; the next command opens another at once."""
        ...
