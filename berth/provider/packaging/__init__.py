"""What apt and dnf are asked for: names and versions as one word each, and the commands that lead there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import StringConstraints

from berth.facts import HostFacts

Manager = Literal["apt", "dnf"]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._-]*(:[a-z0-9]+)?$")]
"""A package's name, for apt with its architecture where that is not the machine's own: `libc6:i386`."""

Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+:~^_-]*\*?$")]
"""What is asked of a package: `any`, `absent`, one version as its package manager writes it, or a branch (`580.*`)."""

ANY, ABSENT = "any", "absent"

_REMOVED = frozenset({"config-files", "not-installed"})
_WHOLE = frozenset({"installed", *_REMOVED})
_EPOCH = re.compile(r"^\d+:")


def installed(facts: HostFacts, packages: Mapping[str, str]) -> dict[str, str]:
    """What is there of `packages`, in the words of what is asked of them; what is not there is left out.

    One that satisfies what is asked is said in the same words. One that is half there never does.
    """
    return {name: found for name, asked in packages.items() if (found := _found(facts, name, asked)) is not None}


def _found(facts: HostFacts, name: str, asked: str) -> str | None:
    fact = facts.packages.get(name)
    if fact is None or fact.state in _REMOVED:
        return ABSENT if asked == ABSENT else None
    if fact.state not in _WHOLE:
        return f"{fact.version} ({fact.state})"
    return asked if satisfies(fact.version, asked) else fact.version


def satisfies(version: str, asked: str) -> bool:
    """Whether an installed version is what is asked: any, one, or of a branch; one without an epoch fits any epoch."""
    if asked == ABSENT:
        return False
    if asked == ANY:
        return True
    if not _EPOCH.match(asked):
        version = _EPOCH.sub("", version)
    return version.startswith(asked[:-1]) if asked.endswith("*") else version == asked


def broken(facts: HostFacts) -> list[str]:
    """Packages whose installation was interrupted; while there are any, apt installs nothing."""
    return sorted(name for name, fact in facts.packages.items() if fact.state not in _WHOLE)


def held(facts: HostFacts, packages: Mapping[str, str]) -> Iterator[str]:
    """Those of `packages` that are there and held."""
    for name, asked in packages.items():
        fact = facts.packages.get(name)
        if asked != ABSENT and fact is not None and fact.held and fact.state not in _REMOVED:
            yield name


def is_exact(asked: str) -> bool:
    """Whether one version alone is asked for, so that an older one than the installed is meant."""
    return asked not in {ANY, ABSENT} and not asked.endswith("*")


def doing(**names: Sequence[str]) -> str:
    """What a command does to which packages, for a person: `doing(removing=["a"])` is `removing a`."""
    return "; ".join(f"{what} {', '.join(which)}" for what, which in names.items() if which)
