"""What was read of repositories, kept on this machine: a commit never changes, so nobody has to ask twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from berth.catalogue import models
from berth.catalogue.models import StoredWeights
from berth.shapes.checkpoint import Checkpoint

__all__ = ["Cache", "cache_folder"]


def cache_folder() -> Path:
    """The user's cache folder of this room."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "berth" / "shapes"


class Cache:
    """A folder with a file for each repository and commit. What it cannot read or write it does without."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, repo: str, revision: str) -> Checkpoint | None:
        """What was kept, unless other code than this has counted it."""
        try:
            kept = json.loads(self._file(repo, revision).read_bytes())
            if kept["counted_by"] != _counted_by():
                return None
            stored = kept["stored"]
            return Checkpoint(config=kept["config"], stored=None if stored is None else StoredWeights(**stored))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, repo: str, revision: str, checkpoint: Checkpoint) -> None:
        """Keeps what was read, at once or not at all."""
        stored = None if checkpoint.stored is None else asdict(checkpoint.stored)
        text = json.dumps({"counted_by": _counted_by(), "stored": stored, "config": checkpoint.config})
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self._folder, prefix=".", delete=False, encoding="utf-8") as file:
                file.write(text)
            Path(file.name).replace(self._file(repo, revision))

    def _file(self, repo: str, revision: str) -> Path:
        return self._folder / f"{repo.replace('/', '--')}@{revision}.json"


@cache
def _counted_by() -> str:
    """Names the code that sorts tensors into parts: when it changes, kept sums are counted anew."""
    digest = hashlib.sha256()
    for path in sorted(Path(models.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
