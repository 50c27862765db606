"""Waits for a service to become ready, says how far it is, and ends at once when it dies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from berth.provider.errors import StartFailed
from berth.provider.host import Host
from berth.provider.supervision.managers import Manager
from berth.provider.supervision.service import Service
from berth.provider.supervision.status import Status, status

_LAST_LINES = 12
_KEPT_LINES = 400
_PAUSE_S = 0.5
"""Between two looks; one look is one round trip."""


_WAITING, _TURN = " berth: waiting for its turn on", " berth: has its turn"
"""What the runner says before and after it has the locks of its cards; others may hold them for many minutes."""


def _nothing(_line: str) -> None:
    return None


def _unexplained(_lines: Sequence[str]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How to read a service's log.

    `progress` gives a status for a line or None, `explain` a cause and a cure for many, and `hopeless` says that a line
    means the start has failed although the process still runs.
    """

    progress: Callable[[str], str | None] = _nothing
    explain: Callable[[Sequence[str]], str] = _unexplained
    hopeless: Callable[[str], bool] = field(default=lambda _line: False)


@dataclass
class _Follower:
    """What is known of one start: its log so far, and until when it may take."""

    service: Service
    limit_s: float
    reader: Reader
    exits: int
    restarts: int
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    rest: bytes = b""
    hopeless: bool = False
    deadline: float = 0

    def read(self, log: bytes, host: Host, now_s: float) -> None:
        """Takes what is new in the log; the time runs only once the service has its turn on its cards."""
        *complete, self.rest = (self.rest + log).split(b"\n")
        for raw in complete:
            line = raw.decode(errors="replace").rstrip("\r")
            self.lines.append(line)
            self.hopeless = self.hopeless or self.reader.hopeless(line)
            if _TURN in line:
                self.deadline = now_s + self.limit_s
            if says := self.reader.progress(line):
                host.say(f"{self.service.name}: {says}")
        if self.waits:
            host.say(f"{self.service.name}: waiting for its turn on its card")

    @property
    def waits(self) -> bool:
        """Whether the last that the runner said of its turn is that it waits for it."""
        said = [line for line in self.lines if _WAITING in line or _TURN in line]
        return bool(said) and _WAITING in said[-1]

    def failure(self, now: Status, now_s: float) -> str:
        """How the start has failed; empty while it may still succeed."""
        self.restarts = min(self.restarts, now.restarts)  # starting it by hand counts from 0 again
        if now.exits > self.exits or now.restarts > self.restarts:
            return f"it ended with status {now.last_exit}"
        if self.hopeless and not now.log:  # it has said its last and does not end by itself
            return "it cannot start"
        if not self.waits and now_s > self.deadline:
            return f"it was not ready within {self.limit_s:.0f} s"
        return ""


async def until_ready(
    host: Host, service: Service, manager: Manager, before: Status, *, limit_s: float, reader: Reader
) -> Status:
    """Follows a start from the state `before` it.

    Raises:
        StartFailed: the process ended, said that it cannot start, or was not ready within `limit_s` of having its turn;
            the message holds its last lines and what they mean.
    """
    clock = asyncio.get_running_loop().time
    follower = _Follower(service, limit_s, reader, before.exits, before.restarts, deadline=clock() + limit_s)
    offset = before.log_size
    while True:
        now = await status(host.quietly(), service, manager, log_from=offset)
        if now.log_size < offset:  # the log was rotated
            offset, follower.exits = 0, min(follower.exits, now.exits)
            continue
        offset = now.log_size
        follower.read(now.log, host, clock())
        if now.state == "running" and now.exits == follower.exits:
            return now
        if how := follower.failure(now, clock()):
            raise _failed(service, how, follower.lines, reader, manager.log(service))
        if not now.log:
            await asyncio.sleep(_PAUSE_S)


def _failed(service: Service, how: str, lines: Sequence[str], reader: Reader, where: str) -> StartFailed:
    meaning = reader.explain(lines)
    last = "\n".join(f"  {line}" for line in list(lines)[-_LAST_LINES:])
    return StartFailed(
        f"{service.name} did not start: {how}"
        + (f"; {meaning}" if meaning else "")
        + f"\nits last lines (all of them are in {where}):\n{last}"
    )
