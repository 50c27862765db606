"""A model in the hub's cache folder: models--ORG--NAME/{blobs,refs,snapshots/COMMIT}. Runs on the host.

Beside huggingface_hub's own folders, `.berth/COMMIT.json` lists the files that serving needs with their sizes. It is
written last, so that with it completeness is seen without the hub, and half a download has none.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from berth.provider.hub.selection import Listed


class Folder:
    """One model of the cache folder `cache`."""

    def __init__(self, cache: Path, repo: str) -> None:
        name = "models--" + repo.replace("/", "--")
        self.root = cache / name
        self._locks = cache / ".locks" / name

    def commit(self, revision: str) -> str:
        """The commit that a revision was when it was downloaded; empty when it is not there."""
        if re.fullmatch(r"[0-9a-f]{40}", revision):
            return revision
        ref = self.root / "refs" / revision
        return ref.read_text().strip() if ref.is_file() else ""

    def snapshot(self, commit: str) -> Path:
        """The folder that an engine is given."""
        return self.root / "snapshots" / commit

    def missing(self, commit: str) -> list[str] | None:
        """The files that are not there in full; None when it is not known what should be there."""
        try:
            sizes = json.loads((self.root / ".berth" / f"{commit}.json").read_text())
        except (OSError, ValueError):
            return None
        return sorted(path for path, size in sizes.items() if file_size(self.snapshot(commit) / path) != size)

    def blob(self, file: Listed) -> Path:
        """Where a file's content lies when it is there in full."""
        return self.root / "blobs" / file.blob

    def partial(self, file: Listed) -> Path:
        """Where a file's content lies while it comes."""
        return self.root / "blobs" / f"{file.blob}.incomplete"

    def complete(self, file: Listed) -> bool:
        """Whether a file is there in full."""
        return file_size(self.blob(file)) == file.size

    def here(self, file: Listed) -> int:
        """How many bytes of a file are there."""
        if self.complete(file):
            return file.size
        return min(max(file_size(self.partial(file)), 0), file.size)

    def link(self, commit: str, file: Listed) -> None:
        """Puts a finished file into the snapshot."""
        place = self.snapshot(commit) / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(self.blob(file), place.parent)
        if not place.is_symlink() or str(place.readlink()) != target:
            new = _beside(place)
            new.symlink_to(target)
            new.replace(place)

    def finish(self, commit: str, revision: str, sizes: dict[str, int]) -> None:
        """Records what is there."""
        if revision != commit:
            write(self.root / "refs" / revision, commit)
        write(self.root / ".berth" / f"{commit}.json", json.dumps(sizes, indent=1, sort_keys=True))

    def keep(self, file: Listed) -> None:
        """Makes of what has come the file."""
        self.partial(file).replace(self.blob(file))

    def locked(self, file: Listed, note: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        """The lock that huggingface_hub takes for the same file."""
        return alone(self._locks / f"{file.blob}.lock", file.path, note)


@contextlib.contextmanager
def alone(path: Path, name: str, note: Callable[[str], None]) -> Iterator[None]:
    """Keeps other downloads of the same file waiting, and says so where it waits itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another download of {name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
            note("")
        yield


def cache_folder(told: str) -> Path:
    """Where the hub's models lie on this host: as told, else where huggingface_hub would look for them."""
    home = os.environ.get("HF_HOME") or (os.environ.get("XDG_CACHE_HOME") or "~/.cache") + "/huggingface"
    return Path(told or os.environ.get("HF_HUB_CACHE") or home + "/hub").expanduser()


def file_size(path: Path) -> int:
    """A file's size in bytes, -1 when it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def write(path: Path, text: str) -> None:
    """Writes a file in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(path)
    new.write_text(text)
    new.replace(path)


def _beside(path: Path) -> Path:
    """A name for what a rename will put in place of `path`; downloads for two stacks do not share it."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    return new
