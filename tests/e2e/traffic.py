"""Requests at a steady rate while a test changes things, so that it can say what failed and when."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent (seconds since the start), how it ended, how long it took, and who answered.

    A stream that does not end as streams must has the status 0.
    """

    at: float
    status: int
    took: float
    text: str
    served_by: str = ""


class Traffic:
    """Sends completions to one model at `rate` per second, each on its own, until the block ends.

    With `streams` every fourth is streamed, and its answer is read to the end.
    """

    def __init__(self, url: str, key: str, model: str, rate: float, *, streams: bool = False) -> None:
        self._url = f"{url}/completions"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._body = {"model": model, "prompt": "Hello", "max_tokens": 2}
        self._streams = streams
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

    @property
    def longest_s(self) -> float:
        """How long the slowest request took."""
        return max((asked.took for asked in self.asked), default=0.0)

    def now(self) -> float:
        """A mark: seconds since the start."""
        return time.monotonic() - self._begin

    def between(self, begin: float, end: float) -> list[Asked]:
        """The requests that were sent between two marks."""
        return [asked for asked in self.asked if begin <= asked.at < end]

    def _drive(self) -> None:
        number = 0
        while not self._stop.wait(self._pause):
            thread = threading.Thread(target=self._ask, args=(self._streams and number % 4 == 0,))
            thread.start()
            self._threads.append(thread)
            number += 1

    def _ask(self, stream: bool) -> None:
        begin = time.monotonic()
        served = ""
        body = {**self._body, "stream": True, "max_tokens": 20} if stream else self._body
        try:
            answer = requests.post(self._url, json=body, headers=self._headers, timeout=120)
            served = answer.headers.get("x-served-by", "")
            status, text = answer.status_code, answer.text[-200:]
            if status == 200 and stream and not text.rstrip().endswith("[DONE]"):
                status = 0
        except requests.RequestException as error:
            status, text = 0, str(error)
        self.asked.append(Asked(begin - self._begin, status, time.monotonic() - begin, text, served))


def shares(url: str, key: str, model: str, count: int) -> Counter[str]:
    """How many of `count` requests each revision has answered; eight at a time, each on its client's one connection."""
    local = threading.local()

    def one(_: int) -> str:
        session: requests.Session = getattr(local, "session", None) or requests.Session()
        local.session = session
        body = {"model": model, "prompt": "Hello", "max_tokens": 1}
        answer = session.post(f"{url}/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=120)
        answer.raise_for_status()
        return str(answer.headers["x-served-by"])

    with ThreadPoolExecutor(max_workers=8) as pool:
        return Counter(pool.map(one, range(count)))
