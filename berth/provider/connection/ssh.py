"""A machine reached over SSH: one connection, opened at first use and shared by all commands of an update."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import asyncssh

from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.connection.channel import END, Channel
from berth.provider.connection.login import login
from berth.provider.connection.sessions import Ask, Sessions
from berth.provider.connection.settings import SshSettings
from berth.provider.connection.sudo import Sudo, learn
from berth.provider.errors import CommandFailed, Unreachable

_SESSIONS = 8
"""At the same time on one connection: sshd allows 10 (MaxSessions), and ending a command needs another one."""
Grant = Callable[[Ask], Coroutine[Any, Any, None]]
_LONGEST = 128 * 1024 - 1  # sshd hands it to the login shell as one argument
_GRACE_S = 8
_REMEMBERED_S = 30
"""For so long a machine that was not reached is not tried again: all that wait for it would wait one by one."""

_SESSION: dict[str, Any] = {"encoding": None, "request_pty": False, "x11_forwarding": False, "env": {}, "send_env": []}
"""Bytes, and no environment of ours nor of the ssh configuration: the same there, whoever runs this."""


class SshConnection:
    """Runs commands on one machine; nothing stays there but what they leave.

    `logins` bounds how many machines are logged in to at a time.
    """

    def __init__(self, name: str, settings: SshSettings, logins: asyncio.Semaphore) -> None:
        self._name = name
        self._settings = settings
        self._logins = logins
        self._opening: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._failed_at = 0.0
        self._sessions = Sessions(_SESSIONS)
        self._sudo: Sudo | None = None
        self._learning = asyncio.Lock()
        self._forwards = False

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """See `Connection.run`."""
        sudo = await self._rights() if command.root else None
        async with self._sessions.one() as session:
            channel = await self._begin(command, on_line, sudo, session)
            try:
                await asyncio.wait_for(channel.ended.wait(), command.timeout_s)
            except TimeoutError:
                raise CommandFailed(host=self._name, doing=command.says, status=None, output="") from None
            finally:
                await self._end(channel, command)
        return self._result(channel, command)

    @contextlib.asynccontextmanager
    async def forward(self, port: int) -> AsyncIterator[str]:
        """See `Connection.forward`."""
        client = await self._forwarding_client(port)
        listener = await client.forward_local_port("127.0.0.1", 0, "127.0.0.1", port)
        try:
            yield f"127.0.0.1:{listener.get_port()}"
        finally:
            listener.close()

    async def close(self) -> None:
        """See `Connection.close`."""
        if self._opening is None:
            return
        self._opening.cancel()
        opened = (await asyncio.gather(self._opening, return_exceptions=True))[0]
        self._opening = None
        if isinstance(opened, asyncssh.SSHClientConnection):
            opened.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(opened.wait_closed(), _GRACE_S)

    async def _client(self) -> asyncssh.SSHClientConnection:
        """The connection as it is, or a new one; whoever asks meanwhile waits for the same."""
        if self._opening is None or (self._opening.done() and not self._holds(self._opening)):
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    def _holds(self, opened: asyncio.Task[asyncssh.SSHClientConnection]) -> bool:
        if opened.cancelled():
            return False
        if opened.exception() is not None:
            return asyncio.get_running_loop().time() < self._failed_at + _REMEMBERED_S
        return not opened.result().is_closed()

    async def _open(self) -> asyncssh.SSHClientConnection:
        try:
            async with self._logins:
                return await login(self._name, self._settings)
        except Unreachable:
            self._failed_at = asyncio.get_running_loop().time()
            raise

    async def _begin(self, command: Command, on_line: OnLine | None, sudo: Sudo | None, grant: Grant) -> Channel:
        """Starts a command; on a new connection where the old one turns out to be gone before anything began."""
        for last in (False, True):
            client = await self._client()
            channel = Channel(on_line)
            try:
                await self._request(client, channel, command, sudo, grant)
            except (asyncssh.Error, OSError) as error:
                if channel.opened and client.is_closed():
                    raise self._lost(command, begun=True) from error
                if last or not client.is_closed():
                    raise Unreachable(
                        f"{self._name}: {command.says}: the machine gives no session ({error}); "
                        "see MaxSessions, ForceCommand and the log of its sshd"
                    ) from error
            else:
                return channel
        raise AssertionError  # the last round returns or raises

    async def _request(
        self,
        client: asyncssh.SSHClientConnection,
        channel: Channel,
        command: Command,
        sudo: Sudo | None,
        grant: Grant,
    ) -> None:
        line = channel.line(command.argv)
        if sudo is not None:
            line = channel.line(command.argv, sudo=sudo.prefix, skip=sudo.password is not None)

        if len(line) > _LONGEST:
            raise Unreachable(
                f"{self._name}: {command.says}: its arguments are {len(line)} bytes, must be below 128 KiB over SSH"
            )

        async def ask() -> None:
            try:
                await client.create_session(lambda: channel, line, **_SESSION)
            except asyncssh.ChannelOpenError as error:
                if client.is_closed():
                    raise ConnectionResetError from error
                raise

        asking = asyncio.create_task(grant(ask))
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            # it may run there already: known only once the machine has answered
            await asyncio.wait({asking})
            if channel.opened:
                await self._end(channel, command)
            raise
        if sudo is not None and sudo.password is not None:
            channel.write(channel.skipped(sudo.password))
        channel.write(command.stdin or b"")
        if not command.hold:
            channel.write_end()

    async def _end(self, channel: Channel, command: Command) -> None:
        """Leaves nothing running there: what holds on to its input ends with it, anything else is killed."""
        if channel.ended.is_set():
            return
        channel.write_end()
        if command.hold:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(channel.ended.wait(), _GRACE_S)
        if not channel.ended.is_set() and channel.group:
            end = Command(argv=("sh", "-c", END, "end", channel.group), says=f"ending: {command.says}")
            with contextlib.suppress(TimeoutError, Unreachable):
                async with asyncio.timeout(2 * _GRACE_S):
                    await self._begin(end, None, self._sudo if command.root else None, _at_once)
                    await channel.ended.wait()
        channel.abandon()

    def _result(self, channel: Channel, command: Command) -> Result:
        if channel.status is None:
            raise self._lost(command, begun=channel.begun)
        if channel.begun:
            return Result(status=channel.status, stdout=channel.stdout.text, stderr=channel.stderr.text)
        said = (channel.stderr.noise + channel.stdout.noise).decode(errors="replace").strip() or "nothing"
        if command.root:
            raise Unreachable(f"{self._name}: {command.says}: sudo did not run it; it said: {said}")
        raise Unreachable(
            f"{self._name}: {command.says}: the login there runs no commands (status {channel.status}); it said: "
            f"{said}. Give that user a login shell, without a ForceCommand or a menu"
        )

    def _lost(self, command: Command, *, begun: bool) -> Unreachable:
        known = "it may or may not have completed" if begun else "it is not known whether it began"
        return Unreachable(f"{self._name}: connection lost while {command.says}; {known}, run the same again")

    async def _rights(self) -> Sudo:
        """How root is had there, learnt once."""
        async with self._learning:
            if self._sudo is None:
                self._sudo = await learn(self._name, self.run, self._settings.sudo_password)
        return self._sudo

    async def _forwarding_client(self, port: int) -> asyncssh.SSHClientConnection:
        """A connection that forwards; a machine that does not would look as if nothing listened."""
        client = await self._client()
        if not self._forwards:
            try:
                channel, _ = await client.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", port)
            except asyncssh.ChannelOpenError as error:
                if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
                    raise Unreachable(
                        f"{self._name}: port {port}: the sshd there forwards no ports; set AllowTcpForwarding yes"
                    ) from error
                if client.is_closed():
                    client = await self._client()
            else:
                channel.abort()
            self._forwards = True
        return client


async def _at_once(ask: Ask) -> None:
    """Ends a command without waiting for one to end."""
    await ask()
