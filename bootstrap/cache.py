"""One folder per version of Pulumi, outside the clone: complete files only, whatever interrupts the work."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bootstrap.pins import NAMES
from bootstrap.progress import Progress


def root() -> Path:
    """Where results are kept: BERTH_CACHE_DIR, else the user's cache folder."""
    own = os.environ.get("BERTH_CACHE_DIR")
    if own:
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "berth"


class Cache:
    """The folder of one version.

    `bin/` holds finished files, each put there by a rename; `manifest.json` says of each its size and the recipe it
    was made by. A file of another size or recipe counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self._manifest = folder / "manifest.json"

    def has(self, name: str, recipe: str) -> bool:
        """Whether this file is here, whole, and made by this recipe."""
        entry = self._entries().get(name, {})
        try:
            size = (self.bin / name).stat().st_size
        except OSError:
            return False
        return bool(entry == {"recipe": recipe, "size": size})

    def complete(self, recipes: dict[str, str]) -> bool:
        """Whether all files of a Pulumi are here, made by these recipes."""
        return all(self.has(name, recipes[name]) for name in NAMES)

    def put(self, name: str, source: Path, recipe: str) -> None:
        """Move a finished file here; `source` lies in a folder of `workplace`, so the rename is atomic."""
        self.bin.mkdir(parents=True, exist_ok=True)
        source.chmod(0o755)
        size = source.stat().st_size
        source.replace(self.bin / name)
        entries = self._entries() | {name: {"recipe": recipe, "size": size}}
        new = self._manifest.with_suffix(".new")
        new.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        new.replace(self._manifest)

    @contextlib.contextmanager
    def workplace(self) -> Iterator[Path]:
        """An empty folder beside `bin`; those of interrupted runs are removed. Only for the holder of the lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("work-*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="work-", dir=self.folder) as folder:
            yield Path(folder)

    @contextlib.contextmanager
    def lock(self, progress: Progress) -> Iterator[None]:
        """One bootstrap at a time; the system lets go when its process ends, however it ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock(self.folder / "lock", progress):
            yield

    def _entries(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


@contextlib.contextmanager
def lock(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock file; says whom it waits for."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            progress.warn(f"waiting for another bootstrap (process {holder}) to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
