"""What the program writes: JSON lines, `{"say", "done", "total"}` while it works. Runs on the host."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any

EVERY_S = 1.0
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def emit(line: dict[str, Any]) -> None:
    """Writes one line; ends the process when nobody reads it, since then nobody wants what it does."""
    try:
        print(json.dumps(line), flush=True)  # noqa: T201 - this is what the provider reads
    except OSError:
        os._exit(1)


class StatusLines:
    """Says every second what is being done; `amount` gives how many bytes are there and how many there will be."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._note = ""
        self._amount: Callable[[], tuple[int, int]] | None = None
        self._most = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def note(self, text: str) -> None:
        """Adds what is being waited for; empty when nothing is."""
        self._note = text
        if text:
            self._tick()

    def follow(self, amount: Callable[[], tuple[int, int]]) -> None:
        """From now on the bytes are what is being done."""
        self._amount = amount
        self._tick()

    def end(self) -> None:
        """Says how far it came; nothing is said afterwards, so that the program's result is its last line."""
        self._note = ""
        self._tick()
        self._lock.acquire()

    def _run(self) -> None:
        while not threading.Event().wait(EVERY_S):
            self._tick()

    def _tick(self) -> None:
        with self._lock:
            line: dict[str, Any] = {"say": self._doing}
            if self._amount is not None:
                here, total = self._amount()
                self._most = max(self._most, here)  # what was thrown away and comes again is not counted back
                line = {"say": f"downloading {amount(self._most, total)}", "done": self._most, "total": total}
            if self._note:
                line["say"] += f"; {self._note}"
            emit(line)


def amount(part: int, whole: int) -> str:
    """Two byte counts for people: `3.1 of 6.2 GB`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if whole >= size), _UNITS[-1])
    return f"{part / size:.1f} of {whole / size:.1f} {unit}"
