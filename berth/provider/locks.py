"""Who may change a host: one update for each stack's folder there, and one for the host itself.

Both locks lie on the host and end with the update that holds them, however it ends. Two stacks that touch only their
own folders do not meet; packages, Docker and drivers are everybody's, whichever user of the host logs in.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from berth.provider.command import Command, Result, shell
from berth.provider.connection import Connection
from berth.provider.errors import Busy, CommandFailed
from berth.provider.progress import Say

HOST_LOCK = "/run/berth.lock"
"""In /run only root makes files, and nobody else may read this one: no user of the host can hold it up."""
HOLDER = "update"
"""The file in a stack's folder that names who has its lock, for as long as the lock is held."""

_HELD = """
held() {
  if read -r since by < "$2"; then echo "$1 $(($(date +%s) - since)) $since $by"; else echo "$1"; fi
}
"""
"""Says $1 and what whoever has a lock wrote into the file $2: how old it is in seconds, its time, and who it is."""

_FOLDER = f"""{_HELD}
exec 3<&0
trap 'kill "$waiter" 2> /dev/null; exit 0' USR1
( cat <&3; kill -s USR1 $$ ) > /dev/null 2>&1 &
watch=$!
while :; do
  mkdir -p -- "$1" || exit 1
  command exec 9< "$1" || continue
  if ! flock -n 9; then
    held waiting "$1/{HOLDER}" 2> /dev/null
    flock -w "$2" 9 &
    waiter=$!
    if ! wait "$waiter"; then kill "$watch"; held busy "$1/{HOLDER}" 2> /dev/null; exit 0; fi
  fi
  if [ "$1" -ef /proc/self/fd/9 ]; then break; fi
done
trap '' USR1
echo "$(date +%s) $3" > "$1/{HOLDER}"
echo "locked $$"
wait "$watch"
if [ "$1" -ef /proc/self/fd/9 ]; then rm -f -- "$1/{HOLDER}"; rmdir -- "$1" 2> /dev/null || :; fi
"""
"""Locks the workspace's folder until standard input closes. The folder may be removed while the lock is held (destroy
does it), so that after waiting the path must still be the folder that was locked; an empty one is not left, unless it
is a new one, which another may have locked."""

# Whoever gets the lock writes who and since when into the file, which counts only while somebody has it. A process of
# its own holds it, which ends with the one that holds the folder: so it takes none of the sessions that sshd allows
# (MaxSessions) for as long as the update lasts.
_HOST = f"""{_HELD}
path=$1 wait_s=$2 folder_holder=$3 who=$4
umask 077
exec 9>> "$path"
if ! flock -n 9; then
  held waiting "$path"
  if ! flock -w "$wait_s" 9; then held busy "$path"; exit 0; fi
fi
echo "$(date +%s) $who" > "$path"
setsid tail -f -s 0.2 --pid="$folder_holder" /dev/null < /dev/null > /dev/null 2>&1 &
echo locked
"""


@dataclass(frozen=True)
class _Folder:
    """The lock of a folder: the command that holds it, which ends with the connection, and its process there."""

    holder: asyncio.Task[Result]
    process: str


class Locks:
    """The locks of one host that one provider takes at its first changes and holds until `close`."""

    def __init__(self, name: str, workspace: str, connection: Connection, wait_s: float) -> None:
        self._name = name
        self._workspace = workspace
        self._connection = connection
        self._wait_s = wait_s
        self._folder: asyncio.Task[_Folder] | None = None
        self._host: tuple[_Folder, asyncio.Task[None]] | None = None
        self._holders: set[asyncio.Task[Result]] = set()

    async def folder(self, say: Say) -> None:
        """Locks the stack's folder; again where the connection that held it dropped.

        Raises:
            Busy: another provider holds it.
        """
        await self._folder_held(say)

    async def host(self, say: Say, taken: Callable[[], None]) -> None:
        """Locks the host itself, for as long as the folder; `taken` is called before anyone goes on who waited for it.

        Raises:
            Busy: another update changes the host.
        """
        folder = await self._folder_held(say)
        if self._host is None or self._host[0] is not folder:
            self._host = (folder, asyncio.create_task(self._take_host(folder, say, taken)))
        await asyncio.shield(self._host[1])

    async def close(self) -> None:
        """Lets go of both."""
        for holder in self._holders:
            holder.cancel()
        await asyncio.gather(*self._holders, return_exceptions=True)

    async def _folder_held(self, say: Say) -> _Folder:
        if self._folder is None or _is_lost(self._folder):
            self._folder = asyncio.create_task(self._take_folder(say))
        return await asyncio.shield(self._folder)

    async def _take_folder(self, say: Say) -> _Folder:
        """Starts the lock's holder, which lives as long as this provider, and waits for its word."""
        word: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

        def on_line(line: str) -> None:
            said = line.split(maxsplit=3)
            if said[:1] == ["waiting"]:
                say(f"waiting at most {self._wait_s:g} s for {_other(said)} to end, which changes {self._workspace}")
            elif said and said[0] in {"locked", "busy"} and not word.done():  # complaints of commands come here as well
                word.set_result(said)

        command = Command(
            argv=("sh", "-c", _FOLDER, "lock", self._workspace, str(self._wait_s), _ourselves()),
            says=f"waiting for the lock of {self._workspace}",
            timeout_s=float("inf"),
            hold=True,
        )
        holder = asyncio.create_task(self._connection.run(command, on_line))
        self._holders.add(holder)
        pending: set[asyncio.Future[Any]] = {holder, word}
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if not word.done():
            ended = await holder
            raise CommandFailed(host=self._name, doing=command.says, status=ended.status, output=ended.stderr.strip())
        if word.result()[0] == "busy":
            raise Busy(
                f"{self._name}: {_other(word.result())} changes {self._workspace} and did not end within "
                f"{self._wait_s:g} s; wait for it, or end it, and run this again"
            )
        return _Folder(holder, word.result()[1])

    async def _take_host(self, folder: _Folder, say: Say, taken: Callable[[], None]) -> None:
        def on_line(line: str) -> None:
            said = line.split(maxsplit=3)
            if said[:1] == ["waiting"]:
                say(f"waiting at most {self._wait_s:g} s for {_other(said)} to end, which changes the host itself")

        arguments = (HOST_LOCK, str(self._wait_s), folder.process, f"{_ourselves()} for {self._workspace}")
        says = f"making sure that nobody else changes {self._name}"
        command = shell(_HOST, *arguments, says=says, timeout_s=self._wait_s + 60, root=True)
        result = await self._connection.run(command, on_line)
        last = result.stdout.strip().rpartition("\n")[2].split(maxsplit=3)  # complaints of commands are not in it
        if last[:1] == ["busy"]:
            raise Busy(
                f"{self._name}: {_other(last)} changes the host itself (packages, Docker, drivers) and did not end "
                f"within {self._wait_s:g} s; wait for it, or end it, and run this again"
            )
        if result.status != 0 or last != ["locked"]:
            raise CommandFailed(host=self._name, doing=says, status=result.status, output=result.stderr.strip())
        taken()


def _is_lost(lock: asyncio.Task[_Folder]) -> bool:
    """Whether a lock was held and is not any more: its holder there ends with the connection."""
    return lock.done() and not lock.cancelled() and lock.exception() is None and lock.result().holder.done()


def _ourselves() -> str:
    """Who runs this update, for whoever waits for it: no secret, and on one line."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in containers
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"


def _other(said: list[str]) -> str:
    """What the holder wrote: the age of its lock in seconds, the time there, and who it is."""
    if len(said) < 4:  # it has the lock and did not write yet
        return "another update"
    _, age_s, since, who = said
    begun = datetime.fromtimestamp(int(since), UTC)
    return f"another update, of {who}, at it since {begun:%Y-%m-%d %H:%M:%S} UTC ({age_s} s),"
