"""Locks that a killed run left on a stack in a file backend.

Pulumi writes one file per holder below `.pulumi/locks/`, with its process id, host name and time, and never looks
whether that process is alive: after a kill, every later run is refused until somebody removes the file.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from berth.lifecycle.errors import Busy

_PATIENCE_S = 15 * 60
_WRITTEN_S = 3


@dataclass(frozen=True, kw_only=True)
class Lock:
    """One holder of a stack, as its file says."""

    file: Path
    pid: int
    host: str
    user: str
    since: datetime

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since.astimezone():%Y-%m-%d %H:%M:%S}"


def release(state: Path, project: str, stack: str, say: Callable[[str], None]) -> None:
    """Remove the locks of dead holders on this machine; wait for living ones.

    Args:
        state: the folder of the file backend.
        project: the project's name.
        stack: the stack's name.
        say: takes a line for the user.

    Raises:
        Busy: a holder is on another machine, or lives on for 15 minutes.
    """
    end, told = time.monotonic() + _PATIENCE_S, set[int]()
    while True:
        alive: list[Lock] = []
        for lock in read(state, project, stack):
            if lock.host != socket.gethostname():
                raise Busy(
                    f"stack {stack}: is locked by {lock}; wait for it, or run `pulumi cancel --stack {stack}` "
                    f"when you know that it is gone"
                )
            if is_dead(lock):
                lock.file.unlink(missing_ok=True)
                say(f"stack {stack}: released the lock of {lock}: that process is gone")
            else:
                alive.append(lock)
        if not alive:
            return
        lock = alive[0]
        if time.monotonic() >= end:
            raise Busy(
                f"stack {stack}: is being changed by {lock}; wait for it, or interrupt it with `kill -INT {lock.pid}`"
            )
        if lock.pid not in told:
            told.add(lock.pid)
            say(f"stack {stack}: is being changed by {lock}; waiting for it to end")
        _wait(lock.pid, end - time.monotonic())


def read(state: Path, project: str, stack: str) -> list[Lock]:
    """The locks on a stack, oldest first.

    Raises:
        Busy: a lock file says nothing about its holder.
    """
    found: list[Lock] = []
    for file in (state / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json"):
        try:
            said = json.loads(file.read_bytes())
            found.append(
                Lock(
                    file=file,
                    pid=int(said["pid"]),
                    host=str(said["hostname"]),
                    user=str(said["username"]),
                    since=datetime.fromisoformat(said["timestamp"]),
                )
            )
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError):
            if _left_empty(file):
                file.unlink(missing_ok=True)
                continue
            raise Busy(
                f"stack {stack}: has a lock without a holder ({file}), must name one; "
                f"run `pulumi cancel --stack {stack}` when no other run is at work"
            ) from None
    return sorted(found, key=lambda lock: lock.since)


def _left_empty(file: Path) -> bool:
    """Whether a run was killed between making the file and writing into it, which takes a moment otherwise."""
    try:
        about = file.stat()
    except FileNotFoundError:
        return True
    return about.st_size == 0 and time.time() - about.st_mtime > _WRITTEN_S


def is_dead(lock: Lock) -> bool:
    """Whether the holder, on this machine, is gone: no such process, an unreaped one, or one begun after the lock."""
    try:
        os.kill(lock.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # there, and of another user
    try:
        text = Path(f"/proc/{lock.pid}/stat").read_text(encoding="utf-8")
        boot = next(line for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines() if "btime" in line)
    except FileNotFoundError:
        return Path("/proc/self").exists()  # gone just now; without /proc (macOS) nothing more can be said
    fields = text.rpartition(")")[
        2
    ].split()  # the name in brackets may hold spaces; then the state, the 20th is the start
    began = int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    clock_error = 2.0  # seconds: boot time is rounded, and the clock may have been set since
    return fields[0] == "Z" or began > lock.since.timestamp() + clock_error


def _wait(pid: int, limit: float) -> None:
    """Returns when the process has ended, or after the limit in seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):  # macOS, or a kernel before 5.3
        time.sleep(min(limit, 1))
        return
    try:
        select.select([descriptor], [], [], max(limit, 0))
    finally:
        os.close(descriptor)
