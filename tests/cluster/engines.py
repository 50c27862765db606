"""Stand-in engines at the addresses of pods, since pods on kwok's nodes run no container.

Each answers as its pod's arguments say: the model list under the served name, on the container's port. The addresses
are given to the loopback interface, which asks for root; the API server's proxy reaches them as it would real pods.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cluster.cluster import PODS
from tests.cluster.control_plane import ControlPlane
from tests.machines.engine import Unavailable

_LABEL = "serving.kserve.io/inferenceservice"
_LOOK_S = 0.2
_DEFAULT_PORT = 8080


@contextmanager
def engines(cluster: ControlPlane) -> Iterator[None]:
    """Answers for every pod of an inference service that comes, until the end.

    Raises:
        Unavailable: the addresses cannot be had on this machine.
    """
    route = ("local", PODS, "dev", "lo")
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
        listed = cluster.get(f"/api/v1/pods?labelSelector={_LABEL}") or {"items": []}
        pods = {pod["status"]["podIP"]: pod for pod in listed["items"] if "podIP" in pod["status"]}
        for address in servers.keys() - pods.keys():
            _end(servers.pop(address))
        for address in pods.keys() - servers.keys():
            servers[address] = _serve(address, pods[address])
    for server in servers.values():
        _end(server)


def _serve(address: str, pod: Mapping[str, Any]) -> ThreadingHTTPServer:
    container = pod["spec"]["containers"][0]
    ports = container.get("ports") or [{"containerPort": _DEFAULT_PORT}]
    models = json.dumps({"object": "list", "data": [{"id": name} for name in _served(container)]}).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/v1/models"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(models if known else b"{}")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer((address, ports[0]["containerPort"]), Answer)
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
