"""Brings a model from the hub into a host's cache folder, and says what of it is there. Runs on the host.

`look` writes `{"path", "commit", "missing"}` without asking anybody. `download` reads a token from standard input,
writes status lines, and last `{"path", "commit"}` or, with an exit status of `stop.STATUS`, `{"error", "say"}`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import errno
import hashlib
import os
import shutil
import sys
import urllib.error
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from berth.provider.hub.api import CUT, STALLS, Hub, Storage
from berth.provider.hub.folder import Folder, cache_folder, file_size
from berth.provider.hub.preloaded import whole
from berth.provider.hub.selection import Listed, serving_needs
from berth.provider.hub.status_lines import StatusLines, amount, emit
from berth.provider.hub.stop import STATUS, Stop

STREAMS = 4
CHUNK = 2**18
SPARE = 2**28
"""Bytes that must stay free on the disk."""


class Place(Protocol):
    """Where files come to lie."""

    def blob(self, file: Listed) -> Path:
        """Where a file's content lies when it is there in full."""
        ...

    def partial(self, file: Listed) -> Path:
        """Where a file's content lies while it comes."""
        ...

    def complete(self, file: Listed) -> bool:
        """Whether a file is there in full."""
        ...

    def here(self, file: Listed) -> int:
        """How many bytes of a file are there."""
        ...

    def keep(self, file: Listed) -> None:
        """Makes of what has come the file."""
        ...

    def locked(self, file: Listed, note: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        """Keeps other downloads of the same file waiting."""
        ...


class Download:
    """Files on their way from below `source` into a folder of this host."""

    def __init__(self, hub: Storage, folder: Place, source: str) -> None:
        self._hub = hub
        self._folder = folder
        self._source = source

    def run(self, contents: Sequence[Listed]) -> None:
        """Brings all files, several at once; the first failure ends it.

        Raises:
            Stop: one cannot be had.
        """
        total = sum(file.size for file in contents)
        self._hub.lines.follow(lambda: (sum(map(self._folder.here, contents)), total))
        pool = concurrent.futures.ThreadPoolExecutor(STREAMS)
        try:
            running = [pool.submit(self.fetch, file) for file in sorted(contents, key=lambda file: -file.size)]
            for done in concurrent.futures.as_completed(running):
                done.result()
        finally:
            self._hub.ended.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def fetch(self, file: Listed) -> None:
        """Brings one file, going on where an earlier attempt ended, and proves that it is the listed one."""
        partial = self._folder.partial(file)
        with self._folder.locked(file, self._hub.lines.note):
            if self._folder.complete(file):
                return
            for _ in range(2):
                self._fill(file, partial)
                if self.right(file, partial):
                    self._folder.keep(file)
                    return
                partial.unlink()
        what = f"{file.path}: what comes is not what {self._hub.name} lists"
        raise Stop("mismatch", f"{what} (tried twice); a proxy may change it")

    def url(self, file: Listed) -> str:
        """Where a file comes from."""
        return self._source + urllib.parse.quote(file.path)

    def right(self, file: Listed, content: Path) -> bool:
        """Whether what came is what is listed."""
        return _digest(content, file) == file.blob

    def conditions(self, file: Listed) -> dict[str, str]:
        """Headers without which something else might come meanwhile."""
        del file
        return {}

    def _fill(self, file: Listed, partial: Path) -> None:
        """Asks for what is left until all is there; only attempts without a new byte count against it."""
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        stalls = 0
        while (start := file_size(partial)) < file.size:
            why = "the connection was cut"
            try:
                self._append(file, partial, start)
            except urllib.error.HTTPError as error:
                error.close()
                partial.write_bytes(b"")
                why = f"{self._hub.name} has nothing at this place"
            except CUT as error:
                why = str(error) or type(error).__name__
            if file_size(partial) < file.size:
                stalls = 0 if file_size(partial) > start else stalls + 1
                if stalls > STALLS:
                    raise Stop("offline", f"{file.path}: no more of it comes: {why}")
                self._hub.pause(stalls, f"{file.path}: {why}")

    def _append(self, file: Listed, partial: Path, start: int) -> None:
        with self._hub.open(self.url(file), start, **self.conditions(file)) as answer:
            goes_on = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-")
            with partial.open("ab" if goes_on else "wb") as out:
                while data := answer.read1(CHUNK):  # what is there: a kill then loses next to nothing
                    if self._hub.ended.is_set():
                        raise Stop("offline", "another file's failure has ended the download")
                    out.write(data)


def _digest(path: Path, file: Listed) -> str:
    """The content's name as the hub gives it: git's for small files, which counts a header, else SHA-256."""
    digest = hashlib.sha256()
    if len(file.blob) == 40:
        digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as content:
        while data := content.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def download(hub: Hub, folder: Folder, repo: str, revision: str) -> str:
    """Downloads what is missing of what serving needs; returns the commit.

    Raises:
        Stop: it cannot be had.
    """
    commit, files = hub.listing(repo, revision)
    needed = serving_needs(files)
    contents = list({file.blob: file for file in needed}.values())
    left = sum(file.size - folder.here(file) for file in contents)
    refuse_full(folder.root, left)
    if left:
        Download(hub, folder, f"{hub.endpoint}/{repo}/resolve/{commit}/").run(contents)
    for file in needed:
        folder.link(commit, file)
    folder.finish(commit, revision, {file.path: file.size for file in needed})
    return commit


def refuse_full(folder: Path, left: int) -> None:
    """Makes the folder, and refuses a disk that cannot hold what is left.

    Raises:
        Stop: it cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if left and left + SPARE > free:
        raise Stop("disk", f"{folder.parent} has {amount(free, left + SPARE)} free that are needed; make room there")


def bring(options: argparse.Namespace, folder: Folder, token: str) -> str:
    """Downloads; without a way to the hub accepts a snapshot that is whole by itself. Returns the commit.

    Raises:
        Stop: it cannot be had.
    """
    endpoint = options.endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    lines = StatusLines(f"asking {endpoint} for {options.repo}")
    try:
        _refuse_offline()
        hub = Hub(endpoint, token, lines, patience_s=options.patience_s, pause_s=options.pause_s)
        return download(hub, folder, options.repo, options.revision)
    except Stop as stop:
        commit = folder.commit(options.revision)
        sizes = whole(folder.snapshot(commit)) if commit and stop.kind == "offline" else None
        if sizes is None:
            raise
        folder.finish(commit, options.revision, sizes)
        return commit
    finally:
        lines.end()


def _refuse_offline() -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise Stop("offline", "HF_HUB_OFFLINE is set on this host; unset it, or bring the files by other means")


def main(arguments: Sequence[str]) -> int:
    """Looks or downloads; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("look", "download"))
    parser.add_argument("--repo", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--cache", default="")
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--patience-s", type=float, default=900.0)
    parser.add_argument("--pause-s", type=float, default=1.0)
    options = parser.parse_args(arguments)
    folder = Folder(cache_folder(options.cache), options.repo)
    commit = folder.commit(options.revision)
    missing = folder.missing(commit) if commit else None
    if options.verb == "look":
        emit({"path": str(folder.snapshot(commit)) if commit else "", "commit": commit, "missing": missing})
        return 0

    def brought() -> dict[str, str]:
        found = commit if missing == [] else bring(options, folder, sys.stdin.read().strip())
        return {"path": str(folder.snapshot(found)), "commit": found}

    return told(brought, folder.root)


def told(bring: Callable[[], dict[str, str]], place: Path) -> int:
    """Writes what was brought, or why it was not; returns the exit status."""
    try:
        brought = bring()
    except Stop as stop:
        emit({"error": stop.kind, "say": str(stop)})
        return STATUS[stop.kind]
    except CUT as error:  # before OSError, which most of them are
        emit({"error": "offline", "say": f"the connection was cut: {str(error) or type(error).__name__}; run it again"})
        return STATUS["offline"]
    except OSError as error:
        why = "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror or str(error)
        say = f"{error.filename or place}: {why}; make room or choose another cache folder"
        emit({"error": "disk", "say": say})
        return STATUS["disk"]
    emit(brought)
    return 0
