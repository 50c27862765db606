"""A stand-in for a stack's gateway, for what asks it: it answers in full, or misbehaves in one way on command."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

TOKEN = "sk-right"


class Gateway(http.server.ThreadingHTTPServer):
    """Answers as a gateway does, or misbehaves in one way."""

    daemon_threads = True
    fault = ""
    asked = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []

    models = ("one", "two")


class Handler(http.server.BaseHTTPRequestHandler):
    server: Gateway
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(asked)
        if self.path == "/v1/embeddings":
            sizes = [8 if self.server.fault == "" or index else 4 for index in range(len(asked["input"]))]
            self._answer(200, {"data": [{"embedding": [0.1] * size} for size in sizes]})
        elif self.path == "/v1/score":
            self._answer(200, {"data": [{"score": 0.5} for _ in asked["text_2"][len(self.server.fault) :]]})
        elif asked.get("stream"):
            lines = [{"choices": [{"delta": {"content": "x"}}]}, {"choices": [], "usage": {"completion_tokens": 3}}]
            text = "".join(f"data: {json.dumps(line)}\n\n" for line in lines)
            self.server.asked += 1
            if self.server.fault == "refuses every other" and self.server.asked % 2:
                self._answer(429, {"error": {"message": "too many"}})
            elif self.server.fault == "breaks off":
                self._send(200, text.encode(), length=len(text) + 100)
                self.close_connection = True
            else:
                self._send(200, (text + ("" if self.server.fault == "no done" else "data: [DONE]\n\n")).encode())
        elif self.server.fault == "empty":
            self._answer(200, {"choices": [], "usage": {"completion_tokens": 0}})
        else:
            self._answer(200, {"choices": [{"text": "x"}], "usage": {"completion_tokens": 2}})

    def log_message(self, *_arguments: object) -> None:
        """Not into the tests' output."""

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode())

    def _send(self, status: int, body: bytes, length: int | None = None) -> None:
        for fault, other in (("no JSON: ", b"<html>hello"), ("a list: ", b"[]"), ("no data: ", b'{"object": "list"}')):
            if self.server.fault == fault + self.path:
                body = b"data: " + other + b"\n\n" if body.startswith(b"data: ") else other
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, body = 401, b'{"error": {"message": "no key"}}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
