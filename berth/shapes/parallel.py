"""Several things at once, with one time limit for all of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["at_once"]

T = TypeVar("T")
R = TypeVar("R")


def at_once(work: Sequence[T], do: Callable[[T], R], *, deadline: float, threads: int) -> dict[T, R]:
    """What `do` makes of each; what is not done by the deadline is missing.

    The threads are daemons, which `concurrent.futures` does not offer: one that hangs in a name lookup, which no
    timeout reaches, must keep neither the caller nor the program's end waiting.

    Args:
        work: what is to be done, each once.
        do: must not raise.
        deadline: when waiting ends, in seconds of `time.monotonic`.
        threads: how many work at most.
    """
    left: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[T, R]] = queue.SimpleQueue()
    for one in work:
        left.put(one)

    def take() -> None:
        while time.monotonic() < deadline:
            try:
                one = left.get_nowait()
            except queue.Empty:
                return
            done.put((one, do(one)))

    for _ in range(min(threads, len(work))):
        threading.Thread(target=take, daemon=True, name="berth-shapes").start()
    found: dict[T, R] = {}
    while len(found) < len(work):
        try:
            one, result = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[one] = result
    return found
