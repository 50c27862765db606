"""The form of an operation's table of cases: what is wanted, what is there, and the exact commands between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from berth.provider.command import Command
from berth.provider.operation import Operation, Want


@dataclass(frozen=True)
class Script:
    """A shell script by the name that it has in the operation's module, and its values; `within` is one around it."""

    name: str
    arguments: tuple[str, ...] = ()
    within: str = ""


def script(name: str, *arguments: str) -> Script:
    """A script with its values as `$1`, `$2`, …."""
    return Script(name, arguments)


def leashed(name: str, *arguments: str) -> Script:
    """A script that ends when its caller is gone."""
    return Script(name, arguments, within="_LEASH")


def surviving(name: str, *arguments: str) -> Script:
    """A script that goes on to its end when its caller is gone."""
    return Script(name, arguments, within="surviving._SURVIVE")


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
    argv, within = unwrapped(command, scripts)
    if argv[:3] == ("sh", "-eu", "-c") and argv[3] in scripts:
        return Script(scripts[argv[3]], argv[5:], within)
    return command.argv


def unwrapped(command: Command, scripts: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """What runs within a leash or the like, and the name of that."""
    if command.argv[:2] == ("sh", "-c") and command.argv[2] in scripts:
        return command.argv[4:], scripts[command.argv[2]]
    return command.argv, ""
