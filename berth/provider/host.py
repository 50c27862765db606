"""One host as an operation sees it, and all hosts of a stack as the provider holds them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from berth.facts import HostFacts
from berth.facts.gathering import AFTER_SUDO, SCRIPT, parse
from berth.provider.command import Command, Result, shell
from berth.provider.connection import Connection, OnLine
from berth.provider.connection.local import LocalConnection
from berth.provider.connection.settings import OverSsh
from berth.provider.errors import CommandFailed, UnknownHost, Unreachable
from berth.provider.kubernetes.settings import ToCluster
from berth.provider.locks import Locks
from berth.provider.progress import Say

_LAST_LINES = 20
_LOGINS = 8
"""At the same time, whatever the number of hosts: behind one jump machine, sshd drops more than 10 (MaxStartups)."""
_NO_SPACE = ("No space left on device", "Disk quota exceeded")


class HostSettings(BaseModel):
    """How the provider reaches one host, or a cluster in the place of one.

    `workspace` is the folder there that holds all that the stack makes; a cluster has none.

    Over SSH a relative workspace is relative to the home of whoever logs in, which is not known before.
    `lock_wait_s` is how long another update's lock on it, or on the host itself, is waited for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: Literal["local"] | OverSsh | ToCluster
    workspace: str = ""
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
    """One host with a way to it and a place for status lines; `sudo_password`: whether its connection knows one.

    Only a host that may be changed has `locks`.
    """

    name: str
    workspace: str
    connection: Connection
    say: Say
    gathered: Gathered = field(default_factory=Gathered)
    sudo_password: bool = False
    locks: Locks | None = None

    async def alone(self) -> None:
        """Keeps other updates from changing the host itself until this one ends; from then on its facts are new ones.

        Raises:
            Busy: another update is at it.
        """
        if self.locks is not None:
            await self.locks.host(self.say, self.gathered.forget)

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


class Hosts:
    """All hosts of a stack: one connection each, opened at first use, and its locks, taken at the first changes."""

    def __init__(self, settings: Mapping[str, HostSettings]) -> None:
        self._settings = settings
        self._connections: dict[str, Connection] = {}
        self._gathered: dict[str, Gathered] = {}
        self._logins = asyncio.Semaphore(_LOGINS)
        self._locks: dict[str, Locks] = {}

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
            connection = self._connections[name] = _connection(name, settings, self._logins)
            self._gathered[name] = Gathered()
            self._locks[name] = Locks(name, settings.workspace, connection, settings.lock_wait_s)
        over_ssh = settings.connection if isinstance(settings.connection, OverSsh) else None
        return Host(
            name=name,
            workspace=settings.workspace,
            connection=self._connections[name],
            say=say,
            gathered=self._gathered[name],
            sudo_password=over_ssh is not None and over_ssh.ssh.sudo_password is not None,
        )

    async def writer(self, name: str, say: Say) -> Host:
        """A host to change; the first call locks the stack's folder there until `close`.

        Raises:
            Busy: another provider holds its lock.
        """
        host = self.reader(name, say)
        if isinstance(self._settings[name].connection, ToCluster):
            return host  # it has no folder; the backend lets one update at a time at a stack
        host = replace(host, locks=self._locks[name])
        await self._locks[name].folder(say)
        return host

    async def close(self) -> None:
        """Gives up all locks and connections."""
        await asyncio.gather(*(locks.close() for locks in self._locks.values()))
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))


def _connection(name: str, settings: HostSettings, logins: asyncio.Semaphore) -> Connection:
    if settings.connection == "local":
        return LocalConnection(name)
    if isinstance(settings.connection, ToCluster):
        from berth.provider.kubernetes.connection import ClusterConnection  # noqa: PLC0415 -- as below, for clusters

        return ClusterConnection(name, settings.connection.cluster)
    from berth.provider.connection.ssh import SshConnection  # noqa: PLC0415 -- its imports take longer than all others

    return SshConnection(name, settings.connection.ssh, logins)
