"""A package as data, for whichever package manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Content(NamedTuple):
    """A file of a package."""

    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package; its scripts are POSIX sh, run as the package manager would at that point.

    `depends` and the like are in Debian's words; a version in them is `name (= 1.2-1)`. `links` are symbolic links.
    """

    name: str
    version: str
    summary: str
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    files: Mapping[str, Content] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    configuration: tuple[str, ...] = ()
    after_install: str = ""
    before_removal: str = ""
    after_removal: str = ""
