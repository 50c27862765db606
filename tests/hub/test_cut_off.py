"""Answers that end before their end: another attempt, and a word that fits where none helps."""

from __future__ import annotations

import http.client
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.provider.hub.bucket import Bucket
from berth.provider.hub.download import told
from berth.provider.hub.status_lines import StatusLines
from berth.provider.hub.stop import STATUS

PAGE = (
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Contents><Key>m/config.json</Key>'
    b"<Size>3</Size><ETag>x</ETag></Contents></ListBucketResult>"
)


class _CutsFirst(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE[:40] if self.asked == 1 else PAGE)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    _CutsFirst.asked = 0
    server = http.server.HTTPServer(("127.0.0.1", 0), _CutsFirst)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_listing_that_is_cut_off_is_asked_for_again(endpoint: str) -> None:
    lines = StatusLines("")
    try:
        found = Bucket("s3://weights/m", endpoint, "us-east-1", None, lines).contents()
    finally:
        lines.end()
    assert [file.path for file in found] == ["config.json"]
    assert _CutsFirst.asked == 2


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("timed out"),
        ConnectionResetError(104, "Connection reset by peer"),
        http.client.IncompleteRead(b"a", 3),
        ssl.SSLError("record layer failure"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_cut_connection_is_no_full_disk(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def bring() -> dict[str, str]:
        raise error

    assert told(bring, Path("/cache")) == STATUS["offline"]
    said = json.loads(capsys.readouterr().out)
    assert said["error"] == "offline"
    assert said["say"].startswith("the connection was cut: ")
