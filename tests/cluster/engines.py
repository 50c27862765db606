"""Stand-in engines at the addresses of pods, since pods on kwok's nodes run no container.

Each answers as its pod's arguments say, under the served names and on the container's port; one with `STANDIN_BROKEN`
in its environment answers no prompt. The addresses are given to the loopback interface, which asks for root; the API
server's proxy reaches them as it would real pods.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from tests.cluster.addresses import pods
from tests.cluster.control_plane import ControlPlane
from tests.engine_standin import vllm as standin
from tests.machines.engine import Unavailable

_LABELS = {"serving.kserve.io/inferenceservice", "dev.berth/model"}
"""Pods of services have the first of KServe, and the second where a stack made them."""
_LOOK_S = 0.2
_DEFAULT_PORT = 8080


@contextmanager
def engines(cluster: ControlPlane) -> Iterator[None]:
    """Answers for every pod of an inference service that comes, until the end.

    Raises:
        Unavailable: the addresses cannot be had on this machine.
    """
    route = ("local", pods(), "dev", "lo")
    done = subprocess.run(["ip", "route", "replace", *route], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"pods cannot have addresses here: {done.stderr.strip()}")
    over = threading.Event()
    follower = threading.Thread(target=_follow, args=(cluster, over))
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()
        subprocess.run(["ip", "route", "del", *route], check=False)


class _Server(standin.Server):
    """Ends as a pod does, with all its connections: the API server keeps them, and another pod may get the address."""

    def __init__(self, address: tuple[str, int], answer: type[standin.Handler]) -> None:
        self._open: set[Any] = set()
        super().__init__(address, answer)

    def get_request(self) -> tuple[socket.socket, Any]:
        """See `socketserver`."""
        request, client = super().get_request()
        self._open.add(request)
        return request, client

    def shutdown_request(self, request: Any) -> None:
        """See `socketserver`."""
        self._open.discard(request)
        super().shutdown_request(request)

    def end(self) -> None:
        """Answers nobody any more."""
        self.shutdown()
        self.server_close()
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


def _follow(cluster: ControlPlane, over: threading.Event) -> None:
    """Keeps a server for each pod that has an address."""
    servers: dict[str, _Server] = {}
    while not over.wait(_LOOK_S):
        listed = (cluster.get("/api/v1/pods") or {"items": []})["items"]
        found = [pod for pod in listed if _LABELS & pod["metadata"].get("labels", {}).keys()]
        there = {pod["metadata"]["uid"]: pod for pod in found if "podIP" in pod["status"]}
        for uid in servers.keys() - there.keys():
            servers.pop(uid).end()  # first: another pod may have its address already
        for uid in there.keys() - servers.keys():
            servers[uid] = _serve(there[uid]["status"]["podIP"], there[uid])
    for server in servers.values():
        server.end()


def _serve(address: str, pod: Mapping[str, Any]) -> _Server:
    container = pod["spec"]["containers"][0]
    ports = container.get("ports") or [{"containerPort": _DEFAULT_PORT}]
    said = {one["name"]: one.get("value") for one in container.get("env", ())}

    class Answer(standin.Handler):
        names = tuple(_served(container))
        work = standin.Work(threading.Semaphore(64), 0.0)
        broken = said.get("STANDIN_BROKEN") == "1"

        def _finished(self, how: str) -> None:
            """Nobody reads it."""

    Answer.loaded.set()
    server = _Server((address, ports[0]["containerPort"]), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _served(container: Mapping[str, Any]) -> list[str]:
    """The names after --served-model-name, whichever way it is written."""
    arguments = [*container.get("command", ()), *container.get("args", ())]
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--served-model-name":
            rest = [value] if value else arguments[place + 1 :]
            stop = next((index for index, item in enumerate(rest) if item.startswith("--")), len(rest))
            return rest[:stop]
    return []
