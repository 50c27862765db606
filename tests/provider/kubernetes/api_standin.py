"""A stand-in for an API server: for nodes that tests have not got, and for one that is being replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.ports import free_port


def kubeconfig(server: str) -> str:
    """One that leads there."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "very secret"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


@contextmanager
def answering(
    answers: Mapping[str, Mapping[str, Any]], status: int = 200, location: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The kubeconfig of a server that has these objects by their paths, and answers them all with one status.

    What has a `code`, as failures of Kubernetes have, is answered with that. From the paths of `location` it leads to
    others.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in (location or {}):
                self.send_response(302)
                self.send_header("Location", (location or {})[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            found = answers.get(path)
            self.send_response(found.get("code", status) if found is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found or {}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", free_port()), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield kubeconfig(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
