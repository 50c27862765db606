"""Facts as files: what each look at a host found, and what somebody recorded for times without access.

The last look of a stack at its hosts lies in the project's `.berth/facts/STACK/HOST.json`, untracked; a recorded host
in `stacks/facts/STACK/HOST.json`, which a team shares. The newer of the two counts. Two stacks may each have a `box`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from berth.facts.model import HostFacts


@dataclass(frozen=True)
class Store:
    """The files of one stack in one project."""

    project: Path
    stack: str

    def looked(self, host: str) -> Path:
        """Where the last look at a host is kept."""
        return self.project / ".berth" / "facts" / self.stack / f"{host}.json"

    def recorded(self, host: str) -> Path:
        """Where a recorded host lies."""
        return self.project / "stacks" / "facts" / self.stack / f"{host}.json"

    def keep(self, host: str, facts: HostFacts) -> None:
        """Keeps a look as the last one; a folder that cannot be written is no reason to stop an update."""
        path = self.looked(host)
        with contextlib.suppress(OSError):
            for folder in (path.parent.parent.parent, path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            write(path, facts.model_dump_json())

    def forget(self, host: str) -> None:
        """Drops the last look at a host; what was recorded of it is everybody's."""
        self.looked(host).unlink(missing_ok=True)

    def last_known(self, host: str, problems: list[str] | None = None) -> HostFacts | None:
        """The newest facts of a host; `problems` takes a line for each file that cannot be read."""
        found = list(self._all(host, [] if problems is None else problems))
        return max(found, key=lambda facts: facts.gathered, default=None)

    def shared(self, host: str, problems: list[str]) -> HostFacts | None:
        """What was recorded of a host for everybody; `problems` takes a line for a file that cannot be read."""
        return next(self._read([self.recorded(host)], problems), None)

    def _all(self, host: str, problems: list[str]) -> Iterator[HostFacts]:
        return self._read([self.looked(host), self.recorded(host)], problems)

    def _read(self, paths: Sequence[Path], problems: list[str]) -> Iterator[HostFacts]:
        for path in paths:
            try:
                yield HostFacts.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValidationError):
                shown = path.relative_to(self.project)
                problems.append(f"{shown}: is not the facts of a host; delete it, or record the host again")


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all, for its owner alone: facts tell an attacker much."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def age(facts: HostFacts, now: datetime) -> str:
    """How old facts are, in words: `3 days`."""
    passed = max(now - facts.gathered, timedelta())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        number = int(passed.total_seconds() // size)
        if number:
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "a moment"
