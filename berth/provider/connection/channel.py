"""One command on an SSH connection: its own channel, told apart from what the login itself writes."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import uuid
from collections.abc import Sequence

import asyncssh

from berth.provider.connection import OnLine

_BEGIN = (
    'if [ "$2" = skip ]; then while IFS= read -r line; do if [ "$line" = "$0" ]; then break; fi; done; fi; '
    'read -r _ _ _ _ group _ < "/proc/$$/stat"; '
    'echo "$0-begun $group" >&2; echo "$0-begun"; '
    'eval "exec $(printf %b "$1")"'
)
"""Runs the command `$1` after a mark on both outputs: only the login's startup files and sudo write before it, and it
proves that the command began. It names the process group, by which the command can be ended: sshd passes no signals to
logins of root. `skip` leaves out standard input up to the mark: the password that sudo may have left unread.

One line without single quotes or backslashes, since any shell may be the login's: csh would run each line of a text by
itself.
"""

_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\!")
_PRINTED = {byte: f"\\0{byte:03o}" for byte in range(256) if byte not in _PLAIN}
"""What not every shell takes as it is between single quotes, as printf reads it."""

END = r"""
kill -s TERM -- "-$1" 2> /dev/null || exit 0
for _ in 1 2 3 4 5; do sleep 1; kill -s 0 -- "-$1" 2> /dev/null || exit 0; done
kill -s KILL -- "-$1"
"""
"""Ends a process group."""


class Channel(asyncssh.SSHClientSession[bytes]):
    """A command from its first byte to its end. `ended` is set then, with `status` None where nobody knows it."""

    def __init__(self, on_line: OnLine | None) -> None:
        self._mark = f"berth-{uuid.uuid4().hex}"
        self.stdout = _Output(f"{self._mark}-begun", on_line)
        self.stderr = _Output(f"{self._mark}-begun", on_line)
        self.opened = False
        self.status: int | None = None
        self.ended = asyncio.Event()
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None

    @property
    def begun(self) -> bool:
        """Whether the command was started by the login there."""
        return self.stderr.marked is not None

    @property
    def group(self) -> str:
        """Its process group there; empty before it has begun."""
        return self.stderr.marked or ""

    def line(self, argv: Sequence[str], *, sudo: Sequence[str] = (), skip: bool = False) -> str:
        """The command line for the login shell there."""
        plain = shlex.join(argv).encode().decode("latin-1").translate(_PRINTED)
        return shlex.join((*sudo, "sh", "-c", _BEGIN, self._mark, plain, "skip" if skip else "all"))

    def skipped(self, password: str) -> bytes:
        """What goes before standard input for a command line with `skip`."""
        return f"{password}\n{self._mark}\n".encode()

    def write(self, data: bytes) -> None:
        """Sends standard input, as fast as the machine takes it; a command may have ended without reading it."""
        if self._channel is not None and data:
            with contextlib.suppress(BrokenPipeError):
                self._channel.write(data)

    def write_end(self) -> None:
        """Ends standard input."""
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()

    def abandon(self) -> None:
        """Closes the channel; what ran there keeps running unless it reads or writes."""
        if self._channel is not None:
            self._channel.abort()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The machine has given it a channel."""
        self._channel = chan
        self.opened = True

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """The command wrote something."""
        (self.stdout if datatype is None else self.stderr).feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed: the command has ended, or the connection."""
        del exc
        if self._channel is not None:
            self.status = self._channel.get_returncode()
        self.stdout.finish()
        self.stderr.finish()
        self.ended.set()


class _Output:
    """One of a command's outputs. `noise` is what came before the mark, `marked` what stands behind it."""

    def __init__(self, mark: str, on_line: OnLine | None) -> None:
        self._mark = mark.encode()
        self._on_line = on_line
        self._data = bytearray()
        self._shown = 0
        self.noise = b""
        self.marked: str | None = None

    @property
    def text(self) -> str:
        """All that the command wrote there."""
        return self._data.decode(errors="replace") if self.marked is not None else ""

    def feed(self, data: bytes) -> None:
        """Takes what arrived, and shows the lines that it completes to whoever looks at them."""
        start = len(self._data)
        self._data += data
        if self.marked is None:
            at = self._data.find(self._mark)
            end = self._data.find(b"\n", at)
            if at < 0 or end < 0:
                return
            self.noise = bytes(self._data[:at])
            self.marked = self._data[at + len(self._mark) : end].decode(errors="replace").strip()
            del self._data[: end + 1]
            start = 0
        while self._on_line is not None and (end := self._data.find(b"\n", max(start, self._shown))) >= 0:
            self._show(end + 1)

    def finish(self) -> None:
        """Shows a last line without an end; keeps everything as noise where no mark came."""
        if self.marked is None:
            self.noise = bytes(self._data)
        elif self._shown < len(self._data):
            self._show(len(self._data))

    def _show(self, end: int) -> None:
        line = self._data[self._shown : end].decode(errors="replace").rstrip("\r\n")
        self._shown = end
        if self._on_line is not None:
            self._on_line(line)
