"""A model's folder on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from berth.shapes.files import Unreadable
from berth.shapes.headers import header

__all__ = ["Folder"]

_SMALL = 64 * 2**20
"""Bytes that a configuration or an index may have; those of the largest models have some 10 MiB."""


class Folder:
    """The files of one folder."""

    def __init__(self, path: Path) -> None:
        self.origin = str(path)
        self._path = path

    def names(self) -> Sequence[str]:
        """The files in it, those below not."""
        try:
            return sorted(entry.name for entry in self._path.iterdir() if entry.is_file())
        except OSError as error:
            raise Unreadable(f"{self._path} cannot be listed ({error.strerror})", fatal=True) from None

    def whole(self, name: str) -> bytes:
        """A small file."""
        content = self._start(name, _SMALL + 1)
        if len(content) > _SMALL:
            raise Unreadable(f"{self._path / name} is larger than any file of its kind; check it")
        return content

    def headers(self, names: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """The headers of safetensors files."""
        return [header(name, partial(self._start, name)) for name in names]

    def _start(self, name: str, size: int) -> bytes:
        try:
            with (self._path / name).open("rb") as file:
                return file.read(size)
        except OSError as error:
            raise Unreadable(f"{self._path / name} cannot be read ({error.strerror})") from None
