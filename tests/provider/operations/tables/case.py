"""The form of an operation's table of cases: what is wanted, what is there, and the exact commands between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from berth.provider.command import Command
from berth.provider.operation import Operation, Want


@dataclass(frozen=True)
class Script:
    """A shell script by the name that it has in the operation's module, and its values."""

    name: str
    arguments: tuple[str, ...] = ()


def script(name: str, *arguments: str) -> Script:
    """A script with its values as `$1`, `$2`, …."""
    return Script(name, arguments)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row. `commands` are argument lists, or scripts by name; without any `why` says the reason."""

    name: str
    want: Want | None
    have: Want | None
    commands: Sequence[tuple[str, ...] | Script] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """All cases of one operation; each module of this folder has one, called `TABLE`."""

    operation: Operation[Any]
    cases: tuple[Case, ...]


def row(command: Command, scripts: dict[str, str]) -> tuple[str, ...] | Script:
    """A command as a table writes it; `scripts` are the names of the scripts by their text."""
    if command.argv[:3] == ("sh", "-eu", "-c") and command.argv[3] in scripts:
        return Script(scripts[command.argv[3]], command.argv[5:])
    return command.argv
