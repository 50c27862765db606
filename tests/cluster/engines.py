"""Stand-in engines at the addresses of pods, since pods on kwok's nodes run no container.

Each answers as its pod's arguments say, under the served names and on the container's port; one with `STANDIN_BROKEN`
in its environment answers no prompt. The addresses are given to the loopback interface, which asks for root; the API
server's proxy reaches them as it would real pods.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
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


def _follow(cluster: ControlPlane, over: threading.Event) -> None:
    """Keeps a server for each pod that has an address."""
    servers: dict[str, ThreadingHTTPServer] = {}
    while not over.wait(_LOOK_S):
        listed = (cluster.get("/api/v1/pods") or {"items": []})["items"]
        found = [pod for pod in listed if _LABELS & pod["metadata"].get("labels", {}).keys()]
        there = {pod["status"]["podIP"]: pod for pod in found if "podIP" in pod["status"]}
        for address in servers.keys() - there.keys():
            _end(servers.pop(address))
        for address in there.keys() - servers.keys():
            servers[address] = _serve(address, there[address])
    for server in servers.values():
        _end(server)


def _serve(address: str, pod: Mapping[str, Any]) -> ThreadingHTTPServer:
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
    server = standin.Server((address, ports[0]["containerPort"]), Answer)
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


def _end(server: ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()
