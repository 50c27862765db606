"""One host as an operation sees it, and all hosts of a stack as the provider holds them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from berth.facts import HostFacts
from berth.facts.gathering import AFTER_SUDO, SCRIPT, parse
from berth.provider.command import Command, Result, shell
from berth.provider.connection import Connection, OnLine
from berth.provider.connection.local import LocalConnection
from berth.provider.connection.settings import OverSsh
from berth.provider.errors import Busy, CommandFailed, UnknownHost, Unreachable
from berth.provider.progress import Say

_LAST_LINES = 20
_LOGINS = 8
"""At the same time, whatever the number of hosts: behind one jump machine, sshd drops more than 10 (MaxStartups)."""
_NO_SPACE = ("No space left on device", "Disk quota exceeded")


class HostSettings(BaseModel):
    """How the provider reaches one host. `workspace` is the folder there that holds all that the stack makes.

    Over SSH a relative workspace is relative to the home of whoever logs in, which is not known before.
    `lock_wait_s` is how long another update's lock on it is waited for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: Literal["local"] | OverSsh
    workspace: str
    lock_wait_s: float = 30


_MAY_DOCKER = """
if [ "$(id -u)" = 0 ]; then exit 0; fi
command -v docker > /dev/null || exit 3
docker version > /dev/null 2>&1 || exit 4
"""
_NO_DOCKER = 3


def _nothing(_line: str) -> None:
    return None


class Gathered:
    """The facts of one host, gathered at most once until they are forgotten."""

    def __init__(self) -> None:
        self._gathering: asyncio.Task[HostFacts] | None = None
        self._docker = False

    async def get(self, host: Host) -> HostFacts:
        """The facts as they are known, or gathered now; whoever asks meanwhile waits for the same."""
        if self._gathering is None or (self._gathering.done() and _failed(self._gathering)):
            self._gathering = asyncio.create_task(look(host))
        return await asyncio.shield(self._gathering)

    async def docker(self, connection: Connection) -> bool:
        """Whether the login itself may talk to Docker; asked again until it may, since Docker may come meanwhile.

        Where there is none, nobody needs rights to it, and what is said of that is clearer without sudo.
        """
        if self._docker:
            return True
        asked = await connection.run(shell(_MAY_DOCKER, says="asking for the rights to Docker"))
        self._docker = asked.status == 0
        return asked.status in {0, _NO_DOCKER}

    def forget(self) -> None:
        """What is known is old from now on; a gathering that has begun is left to those who wait for it."""
        self._gathering = None


def _failed(gathering: asyncio.Task[HostFacts]) -> bool:
    return gathering.cancelled() or gathering.exception() is not None


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host with a way to it and a place for status lines; `sudo_password`: whether its connection knows one."""

    name: str
    workspace: str
    connection: Connection
    say: Say
    gathered: Gathered = field(default_factory=Gathered)
    sudo_password: bool = False

    async def facts(self) -> HostFacts:
        """What the host is: one gathering for all who ask, until something is changed there.

        Raises:
            CommandFailed: the gathering failed.
            Unreachable: the host did not answer.
        """
        return await self.gathered.get(self.quietly())

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """Runs a command and says so.

        Raises:
            CommandFailed: its exit status is none of `command.ok`.
            Unreachable: the host did not answer.
        """
        self.say(command.says)
        if command.docker and not command.root:
            command = replace(command, root=not await self.gathered.docker(self.connection))
        result = await self.connection.run(command, on_line)
        if result.status not in command.ok:
            lines = (result.stderr or result.stdout).strip().splitlines()[-_LAST_LINES:]
            if any(problem in line for line in lines for problem in _NO_SPACE):
                lines.append("its disk is full; make room on the host and run the same again")
            raise CommandFailed(host=self.name, doing=command.says, status=result.status, output="\n".join(lines))
        return result

    def quietly(self) -> Host:
        """The same host without status lines: looking is not worth one."""
        return replace(self, say=_nothing)

    def forward(self, port: int) -> AbstractAsyncContextManager[str]:
        """A way to a loopback port of the host, as `127.0.0.1:PORT` seen from here."""
        return self.connection.forward(port)


async def look(host: Host) -> HostFacts:
    """Gathers the facts of a host in one round trip, and another where sudo asks for its password first.

    Raises:
        CommandFailed: the gathering failed.
        Unreachable: the host did not answer.
    """
    says = f"looking at {host.name}"
    refused = ""
    if host.sudo_password:
        try:
            answer = await host.run(replace(shell(SCRIPT, AFTER_SUDO, says=says), root=True))
            return _facts(host, says, answer)
        except Unreachable as error:
            refused = str(error)
    facts = _facts(host, says, await host.run(shell(SCRIPT, says=says)))
    return facts.model_copy(update={"unread": {**facts.unread, "root": refused}}) if refused else facts


def _facts(host: Host, says: str, answer: Result) -> HostFacts:
    try:
        return parse(answer.stdout)
    except ValueError as error:
        raise CommandFailed(host=host.name, doing=says, status=answer.status, output=str(error)) from error


_LOCK = """
exec 3<&0
trap 'kill "$waiter" 2> /dev/null; exit 0' USR1
( cat <&3; kill -s USR1 $$ ) > /dev/null 2>&1 &
watch=$!
while :; do
  mkdir -p -- "$1" || exit 1
  command exec 9< "$1" || continue
  flock -w "$2" 9 &
  waiter=$!
  if ! wait "$waiter"; then kill "$watch"; echo busy; exit 0; fi
  if [ "$1" -ef /proc/self/fd/9 ]; then break; fi
done
trap '' USR1
echo locked
wait "$watch"
if [ "$1" -ef /proc/self/fd/9 ]; then rmdir -- "$1" 2> /dev/null || :; fi
"""
"""Locks the workspace's folder until standard input closes. The folder may be removed while the lock is held (destroy
does it), so that after waiting the path must still be the folder that was locked; an empty one is not left, unless it
is a new one, which another may have locked."""


class Hosts:
    """All hosts of a stack: one connection each, opened at first use, and one lock each, taken at the first change."""

    def __init__(self, settings: Mapping[str, HostSettings]) -> None:
        self._settings = settings
        self._connections: dict[str, Connection] = {}
        self._gathered: dict[str, Gathered] = {}
        self._logins = asyncio.Semaphore(_LOGINS)
        self._locks: dict[str, asyncio.Task[asyncio.Task[Result]]] = {}
        self._holders: set[asyncio.Task[Result]] = set()

    def reader(self, name: str, say: Say = _nothing) -> Host:
        """A host to look at.

        Raises:
            UnknownHost: no host has that name.
        """
        settings = self._settings.get(name)
        if settings is None:
            known = ", ".join(sorted(self._settings)) or "none"
            raise UnknownHost(f"host {name!r} is not one of the stack's hosts ({known}); declare it under hosts")
        if name not in self._connections:
            self._connections[name] = _connection(name, settings, self._logins)
            self._gathered[name] = Gathered()
        return Host(
            name=name,
            workspace=settings.workspace,
            connection=self._connections[name],
            say=say,
            gathered=self._gathered[name],
            sudo_password=settings.connection != "local" and settings.connection.ssh.sudo_password is not None,
        )

    async def writer(self, name: str, say: Say) -> Host:
        """A host to change; the first call locks it for this provider until `close`, or until its connection drops.

        Raises:
            Busy: another provider holds the host's lock.
        """
        host = self.reader(name, say)
        if name not in self._locks or _is_lost(self._locks[name]):
            wait_s = self._settings[name].lock_wait_s
            self._locks[name] = asyncio.create_task(_take_lock(host, wait_s, self._holders))
        await asyncio.shield(self._locks[name])
        return host

    async def close(self) -> None:
        """Gives up all locks and connections."""
        for holder in self._holders:
            holder.cancel()
        await asyncio.gather(*self._holders, return_exceptions=True)
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))


def _connection(name: str, settings: HostSettings, logins: asyncio.Semaphore) -> Connection:
    if settings.connection == "local":
        return LocalConnection(name)
    from berth.provider.connection.ssh import SshConnection  # noqa: PLC0415 -- its imports take longer than all others

    return SshConnection(name, settings.connection.ssh, logins)


def _is_lost(lock: asyncio.Task[asyncio.Task[Result]]) -> bool:
    """Whether a lock was held and is not any more: its holder there ends with the connection."""
    return lock.done() and not lock.cancelled() and lock.exception() is None and lock.result().done()


async def _take_lock(host: Host, wait_s: float, holders: set[asyncio.Task[Result]]) -> asyncio.Task[Result]:
    """Starts the lock's holder, which lives as long as this provider, and waits for its word."""
    word: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_line(line: str) -> None:
        if line in {"locked", "busy"} and not word.done():  # what the commands complain of comes here as well
            word.set_result(line)

    command = Command(
        argv=("sh", "-c", _LOCK, "lock", host.workspace, str(wait_s)),
        says=f"waiting for the lock of {host.workspace}",
        timeout_s=float("inf"),
        hold=True,
    )
    holder = asyncio.create_task(host.connection.run(command, on_line))
    holders.add(holder)
    pending: set[asyncio.Future[Any]] = {holder, word}
    await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    if not word.done():
        ended = await holder
        raise CommandFailed(host=host.name, doing=command.says, status=ended.status, output=ended.stderr.strip())
    if word.result() != "locked":
        raise Busy(
            f"{host.name}: another update is changing {host.workspace} and did not end within {wait_s:g} s; "
            "wait for it, or end it, and run this again"
        )
    return holder
