"""A stand-in for the Hugging Face hub's HTTP API, for what the real one does not do on command.

What it answers (paths, headers, error codes) is what huggingface_hub 2.4 asks for and reads; `test_stand_in.py` holds
it against that client. Large files come, as from the real hub, by a redirect to another server, which must see no
token.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

LARGE = 4096
"""From this size on, files are kept as large ones (LFS)."""


@dataclass
class Repo:
    """One model: its files by commit and path; `refs` are its branches."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    gated: bool = False


@dataclass
class Faults:
    """What goes wrong. Numbers count down as they are used up."""

    too_many: int = 0
    retry_after: str = "0"
    ratelimit: str = ""
    errors: int = 0
    cuts: int = 0
    cut_after: int = 1000
    corrupt: int = 0
    ignore_ranges: bool = False
    gate: threading.Event | None = None
    """While it is not set, a large file stops after half of it."""
    not_json: bool = False


@dataclass
class StandInHub:
    """The running stand-in; `asked` holds method, path and headers of every request, `sent` the bytes of files."""

    repos: dict[str, Repo] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    faults: Faults = field(default_factory=Faults)
    page: int = 1000
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    storage_asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    half_sent: threading.Event = field(default_factory=threading.Event)
    endpoint: str = ""
    storage: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, files: Mapping[str, bytes], *, gated: bool = False, branch: str = "main") -> str:
        """Adds a commit to a model (made when it is not there); returns the commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode(), usedforsecurity=False).hexdigest()
        repo = self.repos.setdefault(name, Repo({}, {}))
        repo.commits[commit] = dict(files)
        repo.refs[branch] = commit
        repo.gated = gated
        return commit

    def open_gate(self) -> None:
        """Lets the files that stopped half way go on, and stops no other."""
        gate, self.faults.gate = self.faults.gate, None
        if gate is not None:
            gate.set()

    def use_up(self, fault: str) -> bool:
        """Whether a fault that counts down happens now."""
        with self.lock:
            left = getattr(self.faults, fault)
            setattr(self.faults, fault, max(left - 1, 0))
        return bool(left)


@contextlib.contextmanager
def stand_in_hub() -> Iterator[StandInHub]:
    """Two servers on this machine: the hub, and the storage that it redirects to."""
    hub = StandInHub()
    with _serving(hub, _HubHandler) as hub.endpoint, _serving(hub, _StorageHandler) as hub.storage:
        try:
            yield hub
        finally:
            hub.open_gate()


@contextlib.contextmanager
def _serving(hub: StandInHub, handler: type[_Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def git_id(content: bytes) -> str:
    """What git names a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def blob_id(content: bytes) -> str:
    """What the hub names a content, and its cache folder the file that holds it."""
    return hashlib.sha256(content).hexdigest() if len(content) >= LARGE else git_id(content)


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[StandInHub]
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """A client that left is no failure of the hub's."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Silent; tests read `asked`."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        raise NotImplementedError

    def send_file(self, content: bytes, headers: Mapping[str, str]) -> None:
        hub, start, status = self.hub, 0, 200
        extra = {}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted and not hub.faults.ignore_ranges:
            start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
            if start >= len(content):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            status, extra = 206, {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
            content = content[: end + 1]
        data = content[start:]
        if data and hub.use_up("corrupt"):
            data = bytes([data[0] ^ 1]) + data[1:]
        self.send_response(status)
        for name, value in {**headers, **extra, "Content-Length": str(len(data)), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.send_data(data)

    def send_data(self, data: bytes) -> None:
        hub = self.hub
        if len(data) > hub.faults.cut_after and hub.use_up("cuts"):
            data = data[: hub.faults.cut_after]
            self.close_connection = True
        gate = hub.faults.gate if len(data) >= LARGE else None
        half = len(data) if gate is None else len(data) // 2
        self.wfile.write(data[:half])
        self.wfile.flush()
        if gate is not None:
            hub.half_sent.set()
            gate.wait(60)
            self.wfile.write(data[half:])
        with hub.lock:
            hub.sent += len(data)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


class _StorageHandler(_Handler):
    def do_GET(self) -> None:
        self.hub.storage_asked.append((self.command, self.path, dict(self.headers)))
        wanted = self.path.strip("/")
        for repo in self.hub.repos.values():
            for files in repo.commits.values():
                for content in files.values():
                    if blob_id(content) == wanted:
                        self.send_file(content, {})
                        return
        self.answer(404, b"", {})


class _HubHandler(_Handler):
    def do_GET(self) -> None:
        hub = self.hub
        hub.asked.append((self.command, self.path, dict(self.headers)))
        if hub.use_up("too_many"):
            limits = {"Retry-After": hub.faults.retry_after} if hub.faults.retry_after else {}
            self.answer(429, b"", {**limits, **({"RateLimit": hub.faults.ratelimit} if hub.faults.ratelimit else {})})
        elif hub.use_up("errors"):
            self.answer(503, b"", {})
        elif hub.faults.not_json:
            self.answer(200, b"<html>log in to the network first</html>", {"Content-Type": "text/html"})
        else:
            self.route()

    def route(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in self.hub.known | self.hub.granted:
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", url.path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path)
        found = api or file
        repo = self.hub.repos.get(found[1]) if found else None
        if found is None or repo is None:
            self.missing(token)
            return
        revision = urllib.parse.unquote((api[3] if api else found[2]) or "main")
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif api and api[2] == "tree":
            self.tree(repo.commits[commit], query, url.path)
        elif api:
            siblings = [{"rfilename": name} for name in repo.commits[commit]]
            self.json({"id": found[1], "modelId": found[1], "sha": commit, "siblings": siblings, "tags": []})
        elif repo.gated and token not in self.hub.granted:
            self.refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted")
        else:
            self.resolve(repo.commits[commit], commit, urllib.parse.unquote(found[3]))

    def missing(self, token: str) -> None:
        """The real hub tells strangers nothing about what does not exist."""
        if token:
            self.refuse(404, "RepoNotFound", "Repository not found")
        else:
            self.refuse(401, "", "Invalid username or password.")

    def tree(self, files: Mapping[str, bytes], query: Mapping[str, str], path: str) -> None:
        entries: list[dict[str, Any]] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "folder"}]
        for name, content in files.items():
            entry: dict[str, Any] = {"type": "file", "oid": git_id(content), "size": len(content), "path": name}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": blob_id(content), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        start = int(query.get("cursor", "0"))
        following = f"{self.hub.endpoint}{path}?recursive=true&cursor={start + self.hub.page}"
        more = {"Link": f'<{following}>; rel="next"'} if start + self.hub.page < len(entries) else {}
        self.json(entries[start : start + self.hub.page], more)

    def resolve(self, files: Mapping[str, bytes], commit: str, name: str) -> None:
        if name not in files:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        content = files[name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob_id(content)}"'}
        if len(content) < LARGE:
            self.send_file(content, headers)
            return
        headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": headers["ETag"]}
        self.answer(302, b"", {**headers, "Location": f"{self.hub.storage}/{blob_id(content)}"})

    def json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.answer(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **headers})
