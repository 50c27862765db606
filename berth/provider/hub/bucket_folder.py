"""A folder of a bucket in a folder of this host: plain files, and what is known of them. Runs on the host.

`.berth/files.json` lists the files that serving needs with size and ETag. It is written last, so that with it
completeness is seen without the bucket, and half a download has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from berth.provider.hub.folder import alone, file_size, write
from berth.provider.hub.selection import Listed, format_of


class BucketFolder:
    """One model in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._about = root / ".berth"

    def missing(self) -> list[str] | None:
        """The files that are not there in full; None when it is not known what should be there."""
        try:
            files = json.loads((self._about / "files.json").read_text())
        except (OSError, ValueError):
            return None
        return sorted(path for path, said in files.items() if file_size(self.root / path) != said["size"])

    def blob(self, file: Listed) -> Path:
        """Where a file lies when it is there in full."""
        return self.root / file.path

    def partial(self, file: Listed) -> Path:
        """Where a file lies while it comes: another one with another content."""
        return self._about / f"{_name(file)}.incomplete"

    def complete(self, file: Listed) -> bool:
        """Whether a file is there in full, with the content that is listed now."""
        return self._mark(file).exists() and file_size(self.blob(file)) == file.size

    def here(self, file: Listed) -> int:
        """How many bytes of a file are there."""
        return file.size if self.complete(file) else min(max(file_size(self.partial(file)), 0), file.size)

    def keep(self, file: Listed) -> None:
        """Makes of what has come the file."""
        place = self.blob(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._mark(file).unlink(missing_ok=True)
        self.partial(file).replace(place)
        self._mark(file).touch()

    def locked(self, file: Listed, note: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        """Keeps other downloads of the same file waiting."""
        return alone(self._about / f"{_name(file)}.lock", file.path, note)

    def finish(self, files: Sequence[Listed]) -> None:
        """Records what is there, and removes weights and their indexes that the bucket has no more.

        Engines load by the index that they find, and of several formats the one that they like best.
        """
        listed = {file.path for file in files}
        for folder in {self.blob(file).parent for file in files}:
            for path in folder.iterdir():
                if format_of(path.name) and str(path.relative_to(self.root)) not in listed and not path.is_dir():
                    path.unlink(missing_ok=True)
        known = {f"{_name(file)}.{kind}" for file in files for kind in ("complete", "lock")}
        for left in self._about.iterdir():
            if left.suffix in {".incomplete", ".complete"} and left.name not in known:
                left.unlink(missing_ok=True)
        said = {file.path: {"size": file.size, "etag": file.blob} for file in files}
        write(self._about / "files.json", json.dumps(said, indent=1, sort_keys=True))

    def _mark(self, file: Listed) -> Path:
        return self._about / f"{_name(file)}.complete"


def _name(file: Listed) -> str:
    return hashlib.sha256(f"{file.path}\0{file.blob}".encode()).hexdigest()[:32]
