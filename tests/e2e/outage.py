"""What clients notice of something that happens: requests to all models at a steady rate, and what became of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from docker_box import Box
from project import until
from traffic import Traffic

RATE = 20.0
"""Requests a second, to all models together."""


@dataclass(frozen=True)
class Noticed:
    """What the clients of one model noticed: how many requests failed and how, and until when, in s after it happened.

    `longest` is the slowest answer that was none the less 200, in s.
    """

    asked: int
    failed: int
    statuses: tuple[int, ...]
    last: float
    longest: float

    def __str__(self) -> str:
        if not self.failed:
            return f"none of {self.asked} failed, the slowest took {self.longest:.1f} s"
        kinds = ", ".join("no answer" if status == 0 else str(status) for status in self.statuses)
        return f"{self.failed} of {self.asked} failed ({kinds}), the last {self.last:.1f} s after it"


def noticed(box: Box, models: Sequence[str], act: Callable[[], None], back: Callable[[], bool]) -> dict[str, Noticed]:
    """Does something, waits until it is `back` and every model answers, and for the end of all requests."""
    driven = {model: Traffic(f"{box.door}/v1", box.key, model, RATE / len(models)) for model in models}
    begin = time.monotonic()
    with contextlib.ExitStack() as all_of_them:
        for traffic in driven.values():
            all_of_them.enter_context(traffic)
        until(lambda: all(traffic.asked for traffic in driven.values()), "a first answer of every model")
        at = time.monotonic()
        act()
        until(back, "its return", 120)
        until(lambda: all(_answers(traffic) for traffic in driven.values()), "answers of every model", 120)
    return {model: _of(traffic, at - begin) for model, traffic in driven.items()}


def _answers(traffic: Traffic) -> bool:
    """Whether its latest answers were good: a second's worth."""
    latest = traffic.asked[-5:]
    return all(asked.status == 200 for asked in latest)


def _of(traffic: Traffic, at: float) -> Noticed:
    good = [asked.took for asked in traffic.asked if asked.status == 200]
    bad = traffic.failed
    return Noticed(
        asked=len(traffic.asked),
        failed=len(bad),
        statuses=tuple(sorted({asked.status for asked in bad})),
        last=max((asked.at + asked.took - at for asked in bad), default=0.0),
        longest=max(good, default=0.0),
    )
