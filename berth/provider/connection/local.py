"""The machine that Pulumi runs on, reached by starting processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.errors import CommandFailed, Unreachable

_LINE_LIMIT = 2**30
"""No limit in practice: whole files come as one line of base64."""

_GRACE_S = 8


class LocalConnection:
    """Runs commands on this machine; each in a session of its own, so that Ctrl-C stops between commands."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """See `Connection.run`."""
        reads = command.hold or command.stdin is not None
        try:
            process = await asyncio.create_subprocess_exec(
                *(("sudo", "-n", "--") if command.root and os.geteuid() != 0 else ()),
                *command.argv,
                stdin=asyncio.subprocess.PIPE if reads else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
                limit=_LINE_LIMIT,
            )
        except OSError as error:
            raise Unreachable(f"{self._name}: {command.says}: {error}") from error
        try:
            return await asyncio.wait_for(_communicate(process, command, on_line), command.timeout_s)
        except TimeoutError:
            raise CommandFailed(host=self._name, doing=command.says, status=None, output="") from None
        finally:
            await _to_its_end(_end(process, lets_go=command.hold))

    @contextlib.asynccontextmanager
    async def forward(self, port: int) -> AsyncIterator[str]:
        """See `Connection.forward`; the port is here already."""
        yield f"127.0.0.1:{port}"

    async def close(self) -> None:
        """Nothing is held open between commands."""


_KEPT = {"HOME", "PATH", "LANG", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}
_KEPT_PREFIXES = (
    "LC_",
    "SSL_CERT_",
    "UV_",
    "PIP_",
    "XDG_",
    "DOCKER_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
)


def _environment() -> dict[str, str]:
    """What a login would have. Pulumi's passphrase and access tokens are not for what is started here."""
    return {key: value for key, value in os.environ.items() if key in _KEPT or key.upper().startswith(_KEPT_PREFIXES)}


async def _communicate(process: asyncio.subprocess.Process, command: Command, on_line: OnLine | None) -> Result:
    async def read(stream: asyncio.StreamReader | None) -> str:
        lines = []
        if stream is not None:
            async for raw in stream:
                line = raw.decode(errors="replace")
                lines.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\r\n"))
        return "".join(lines)

    async def write() -> None:
        if process.stdin is None or command.hold:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(command.stdin or b"")
            await process.stdin.drain()
        process.stdin.close()

    stdout, stderr, _ = await asyncio.gather(read(process.stdout), read(process.stderr), write())
    return Result(status=await process.wait(), stdout=stdout, stderr=stderr)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Cleaning up goes on when it is cancelled: Pulumi cancels, and a moment later the provider closes."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _end(process: asyncio.subprocess.Process, *, lets_go: bool) -> None:
    """Leaves no process behind: what holds on to its input ends with it, anything else is killed with its session.

    The input of anything else stays open until then: its end would look as if all of it had come.
    """
    if lets_go and process.stdin is not None:
        process.stdin.close()
    for stop in (*([None] if lets_go else []), signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        if stop is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, stop)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_S)
    # Something it started may still hold its output open, which nobody reads any more.
    process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001 -- asyncio offers no other way
