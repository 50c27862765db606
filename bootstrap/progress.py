"""Lines for whoever waits: on a terminal one line that changes, elsewhere a new line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_EVERY_S = {True: 0.5, False: 15.0}


class Progress:
    """Writes to stderr, so that stdout stays for results."""

    def __init__(self, out: TextIO | None = None, *, quiet: bool = False) -> None:
        self._out = out or sys.stderr
        self._quiet = quiet
        self._terminal = self._out.isatty()
        self._open = False
        self._last = time.monotonic()

    def say(self, text: str) -> None:
        """A line that stays; not written when quiet."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """A line that stays, always."""
        self._out.write(("\r\x1b[K" if self._open else "") + text + "\n")
        self._out.flush()
        self._open = False
        self._last = time.monotonic()

    def tick(self, text: str) -> None:
        """A line that the next one replaces; off a terminal at most one in 15 seconds."""
        now = time.monotonic()
        if self._quiet or now - self._last < _EVERY_S[self._terminal]:
            return
        self._last = now
        self._out.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        self._out.flush()
        self._open = self._terminal


def clock(seconds: float) -> str:
    """A duration as people read it: `42 s`, `3 min 05 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
