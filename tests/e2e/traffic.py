"""Requests at a steady rate while a test changes things, so that it can say what failed and when."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent (seconds since the start), how it ended and how long it took."""

    at: float
    status: int
    took: float
    text: str


class Traffic:
    """Sends completions to one model at `rate` per second, each on its own, until the block ends."""

    def __init__(self, url: str, key: str, model: str, rate: float) -> None:
        self._url = f"{url}/completions"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._body = {"model": model, "prompt": "Hello", "max_tokens": 2}
        self._pause = 1 / rate
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._driver = threading.Thread(target=self._drive)
        self._begin = time.monotonic()
        self.asked: list[Asked] = []

    def __enter__(self) -> Self:
        self._begin = time.monotonic()
        self._driver.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._driver.join()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Asked]:
        """The requests that were not answered with 200."""
        return [asked for asked in self.asked if asked.status != 200]

    def _drive(self) -> None:
        while not self._stop.wait(self._pause):
            thread = threading.Thread(target=self._ask)
            thread.start()
            self._threads.append(thread)

    def _ask(self) -> None:
        begin = time.monotonic()
        try:
            answer = requests.post(self._url, json=self._body, headers=self._headers, timeout=120)
            status, text = answer.status_code, answer.text[:200]
        except requests.RequestException as error:
            status, text = 0, str(error)
        self.asked.append(Asked(begin - self._begin, status, time.monotonic() - begin, text))
