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


async def until_ready(
    host: Host, service: Service, manager: Manager, before: Status, *, limit_s: float, reader: Reader
) -> Status:
    """Follows a start from the state `before` it.

    Raises:
        StartFailed: the process ended, said that it cannot start, or was not ready within `limit_s`; the message holds
            its last lines and what they mean.
    """
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    offset = before.log_size
    exits = before.exits
    rest = b""
    hopeless = False
    deadline = asyncio.get_running_loop().time() + limit_s
    while True:
        now = await status(host.quietly(), service, manager, log_from=offset)
        if now.log_size < offset:  # the log was rotated
            offset, exits = 0, min(exits, now.exits)
            continue
        offset += len(now.log)
        *complete, rest = (rest + now.log).split(b"\n")
        new = [line.decode(errors="replace").rstrip("\r") for line in complete]
        lines.extend(new)
        for line in new:
            if says := reader.progress(line):
                host.say(f"{service.name}: {says}")
        if now.state == "running" and now.exits == exits:
            return now
        hopeless = hopeless or any(reader.hopeless(line) for line in new)
        if now.exits > exits:
            raise _failed(service, f"it ended with status {now.last_exit}", lines, reader)
        if hopeless and not now.log:  # it has said its last and does not end by itself
            raise _failed(service, "it cannot start", lines, reader)
        if asyncio.get_running_loop().time() > deadline:
            raise _failed(service, f"it was not ready within {limit_s:.0f} s", lines, reader)
        if not now.log:
            await asyncio.sleep(_PAUSE_S)


def _failed(service: Service, how: str, lines: Sequence[str], reader: Reader) -> StartFailed:
    meaning = reader.explain(lines)
    last = "\n".join(f"  {line}" for line in list(lines)[-_LAST_LINES:])
    return StartFailed(
        f"{service.name} did not start: {how}"
        + (f"; {meaning}" if meaning else "")
        + f"\nits last lines (all of them are in {service.log}):\n{last}"
    )
