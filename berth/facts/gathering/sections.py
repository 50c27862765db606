"""The frame of what the gathering script writes: named sections, each with its lines."""

from __future__ import annotations

from collections.abc import Mapping

_MARK = "\n\x1eberth "

Sections = Mapping[str, str]


def sections(text: str) -> dict[str, str]:
    """The sections by name, without the marks; every line in them is prefixed or known, so that none looks like one."""
    found = {}
    for part in f"\n{text}".split(_MARK)[1:]:
        name, _, content = part.partition("\n")
        found[name.strip()] = content
    return found


def lines(found: Sections, name: str) -> list[str]:
    """The lines of a section that say something."""
    return [line for line in found.get(name, "").splitlines() if line.strip()]


def text(found: Sections, name: str) -> str:
    """A section of one line."""
    return found.get(name, "").strip()
