"""A hold behind Docker's own proxy, which accepts connections for a container in which nobody listens yet.

An engine's port is published on loopback, where docker-proxy listens, and the gateway on the host's network goes
through it: so every engine in a container is reached, whether Berth has started it or somebody else.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import requests
from place import CONTAINERS, MODEL, NAME, Containers, docker, envoy, place
from project import until

from berth.gateway.endpoints import EndpointState

__all__ = ["docker", "envoy", "place"]

pytestmark = [pytest.mark.pulumi, pytest.mark.docker]

FIRST = "first-main-0"
LOADS_S = 6
LARGE = "x" * (10 * 2**20)
KINDS: dict[str, dict[str, Any]] = {"large": {"prompt": LARGE}, "stream": {"stream": True}, "small": {}}
WAITING = {"large": 10, "stream": 10, "small": 20}


@dataclass(frozen=True)
class Answer:
    """What a request that has waited got, and when (seconds since 1970)."""

    kind: str
    status: int
    whole: bool
    began: float
    ended: float


class Knocks:
    """Connects to a port again and again, and counts what becomes of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._knock)
        self.seen: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _knock(self) -> None:
        while not self._stop.wait(0.05):
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=15)
            except OSError:
                self.seen["refused"] += 1
                continue
            with connection:
                try:
                    connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                    self.seen["answered" if connection.recv(1) else "reset"] += 1
                except OSError:
                    self.seen["reset"] += 1


def model(context: int) -> dict[str, Any]:
    """A model whose streams take two seconds and whose engine takes `LOADS_S` to load."""
    told = {"STANDIN_START_S": str(LOADS_S), "STANDIN_TOKEN_S": "0.1"}
    return {"context": context, "concurrency": 512, "on_change": "hold", "environment": told}


@pytest.mark.parametrize("place", [CONTAINERS], indirect=True)
def test_a_hold_behind_docker_proxy_bears_streams_and_large_bodies_and_asks_nothing_twice(
    place: Containers, record_property: Callable[[str, object], None]
) -> None:
    place.write(**model(512))
    place.up()
    (port,) = place.endpoints()[1]
    assert _of_docker_proxy(port)
    proofs = _answered(place)  # before and after an engine has its place at the gateway, the same for the new one
    place.write(**model(511))
    with Knocks(port) as knocks, place.traffic() as traffic, ThreadPoolExecutor(sum(WAITING.values())) as clients:
        with place.project.start(NAME, "up", "--yes", "--skip-preview") as update:
            until(lambda: place.endpoints()[0] is EndpointState.HELD, "requests wait", 120)
            waiting = [clients.submit(_asked, place, kind) for kind, count in WAITING.items() for _ in range(count)]
            output, _ = update.communicate(timeout=300)
        answers = [one.result() for one in waiting]
    assert update.returncode == 0, output
    assert [one for one in answers if (one.status, one.whole) != (200, True)] == []
    assert traffic.failed == []
    assert knocks.seen["reset"] > 0, "it was never accepted and reset, so this test shows nothing"
    assert _answered(place) == proofs + len(answers), "nothing was asked twice"
    assert "aborted" not in place.box.logs(FIRST)
    ready = place.file(FIRST, "state/ready").stat().st_mtime
    for kind, seen in knocks.seen.items():
        record_property(kind, seen)
    record_property("requests", len(traffic.asked) + len(answers))
    record_property("longest_s", round(max(traffic.longest_s, *(one.ended - one.began for one in answers)), 1))
    for kind in WAITING:
        last = max(one.ended for one in answers if one.kind == kind)
        record_property(f"{kind}_after_ready_s", round(last - ready, 1))
    place.destroyed()


def _answered(place: Containers) -> int:
    """How many chats the engine that runs now has answered to the end."""
    return place.box.logs(FIRST).count('"POST /v1/chat/completions HTTP/1.1" end')


def _of_docker_proxy(port: int) -> bool:
    """Whether a process of Docker's listens there."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[0].endswith("docker-proxy") and str(port) in words:
            return True
    return False


def _asked(place: Containers, kind: str) -> Answer:
    more = dict(KINDS[kind])
    messages = [{"role": "user", "content": more.pop("prompt", "Hello")}]
    body = {"model": MODEL, "messages": messages, "max_tokens": 20, **more}
    began = time.time()
    headers = {"Authorization": f"Bearer {place.key}"}
    answer = requests.post(f"{place.url}/chat/completions", json=body, headers=headers, timeout=120)
    text = answer.text.rstrip()
    whole = text.endswith("[DONE]") if kind == "stream" else "token19" in text
    return Answer(kind, answer.status_code, whole, began, time.time())
