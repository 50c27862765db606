"""What a model's folder and its repository have in common: names, and the beginnings of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Files", "Unreadable"]

_LONGEST = 300
"""Characters of a message; what a server or a broken file says may have any number."""


class Unreadable(Exception):
    """A model cannot be read; the message says what is there and what to do, without naming the model.

    Attributes:
        fatal: it cannot be served either, so that `up` would fail too.
        silent: nothing answered; who asks for another model there waits in vain too.
    """

    def __init__(self, text: str, *, fatal: bool = False, silent: bool = False) -> None:
        super().__init__(" ".join(text.split())[:_LONGEST])
        self.fatal = fatal
        self.silent = silent


class Files(Protocol):
    """One model's files, in a folder or a repository."""

    origin: str
    """Where they lie, for the plan's notes."""

    def names(self) -> Sequence[str]:
        """The files at the top.

        Raises:
            Unreadable: they cannot be listed.
        """
        ...

    def whole(self, name: str) -> bytes:
        """A small file.

        Raises:
            Unreadable: it is not there, too large, or cannot be had in time.
        """
        ...

    def headers(self, names: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """The headers of safetensors files.

        Raises:
            Unreadable: one of them cannot be had in time, or is none.
        """
        ...
