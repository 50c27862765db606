"""A stand-in for the site of Pulumi's releases, and lines as a user would read them."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.progress import Progress


@pytest.fixture
def lines() -> io.StringIO:
    """What the user would have read."""
    return io.StringIO()


@pytest.fixture
def progress(lines: io.StringIO) -> Progress:
    return Progress(lines)


class _Site(http.server.ThreadingHTTPServer):
    """A stand-in for the site of Pulumi's releases, which not every network reaches."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.stall: dict[str, threading.Event] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/releases/sdk"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Site

    def do_GET(self) -> None:
        name = Path(self.path).name
        self.server.asked.append(name)
        body = self.server.files.get(name)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        if name in self.server.stall:
            self.server.stall[name].wait(60)
        if name not in self.server.cut:
            self.wfile.write(body[half:])

    def log_message(self, *_arguments: object) -> None:
        """Quiet: what was asked for is in `asked`."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client was killed on purpose
            self.close_connection = True


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Site]:
    with _Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("PULUMI_RELEASES", server.url)
        yield server
        for event in server.stall.values():
            event.set()
        server.shutdown()
        thread.join()
