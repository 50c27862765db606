"""Brings a model from the hub into a host's cache folder, and says what of it is there. Runs on the host.

`look` writes `{"path", "commit", "missing"}` without asking anybody. `download` reads a token from standard input,
writes status lines, and last `{"path", "commit"}` or, with an exit status of `stop.STATUS`, `{"error", "say"}`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import errno
import hashlib
import http.client
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from berth.provider.hub.api import STALLS, Hub
from berth.provider.hub.folder import Folder, cache_folder, file_size
from berth.provider.hub.preloaded import whole
from berth.provider.hub.selection import Listed, serving_needs
from berth.provider.hub.status_lines import StatusLines, amount, emit
from berth.provider.hub.stop import STATUS, Stop

STREAMS = 4
CHUNK = 2**18
SPARE = 2**28
"""Bytes that must stay free on the disk."""


class Download:
    """One model at one commit on its way into the cache folder."""

    def __init__(self, hub: Hub, folder: Folder, repo: str, commit: str) -> None:
        self._hub = hub
        self._folder = folder
        self._source = f"{hub.endpoint}/{repo}/resolve/{commit}/"
        self._commit = commit

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
        blob, partial = self._folder.blob(file), self._folder.partial(file)
        with self._folder.locked(file, self._hub.lines.note):
            if file_size(blob) == file.size:
                return
            for _ in range(2):
                self._fill(file, partial)
                if _digest(partial, file) == file.blob:
                    partial.replace(blob)
                    return
                partial.unlink()
        raise Stop(
            "mismatch", f"{file.path}: what comes is not what the hub lists (tried twice); a proxy may change it"
        )

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
                why = "the hub has nothing at this place"
            except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
            if file_size(partial) < file.size:
                stalls = 0 if file_size(partial) > start else stalls + 1
                if stalls > STALLS:
                    raise Stop("offline", f"{file.path}: no more of it comes: {why}")
                self._hub.pause(stalls, f"{file.path}: {why}")

    def _append(self, file: Listed, partial: Path, start: int) -> None:
        with self._hub.open(self._source + urllib.parse.quote(file.path), start) as answer:
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
    folder.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.root).free
    if left and left + SPARE > free:
        raise Stop(
            "disk", f"{folder.root.parent} has {amount(free, left + SPARE)} free that are needed; make room there"
        )
    if left:
        Download(hub, folder, repo, commit).run(contents)
    for file in needed:
        folder.link(commit, file)
    folder.finish(commit, revision, {file.path: file.size for file in needed})
    return commit


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
    try:
        if missing != []:
            commit = bring(options, folder, sys.stdin.read().strip())
    except Stop as stop:
        emit({"error": stop.kind, "say": str(stop)})
        return STATUS[stop.kind]
    except OSError as error:
        why = "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror or str(error)
        emit(
            {
                "error": "disk",
                "say": f"{error.filename or folder.root}: {why}; make room or choose another cache folder",
            }
        )
        return STATUS["disk"]
    emit({"path": str(folder.snapshot(commit)), "commit": commit})
    return 0
