"""Tables per release into one table with ranges of releases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Flag = Mapping[str, Any]


def flags_by_range(tables: Mapping[str, Sequence[Flag]]) -> list[dict[str, Any]]:
    """One entry per flag and run of releases in which it did not change, by name and then by age.

    `tables` maps each release to its flags, oldest first; `from` and `to` are the first and last release of a run.
    """
    versions = list(tables)
    named = {version: {flag["name"]: dict(flag) for flag in tables[version]} for version in versions}
    entries: list[dict[str, Any]] = []
    for name in sorted({name for table in named.values() for name in table}):
        run: dict[str, Any] | None = None
        for version in versions:
            flag = named[version].get(name)
            if flag is not None and run is not None and {**flag, "from": run["from"], "to": run["to"]} == run:
                run["to"] = version
            elif flag is not None:
                run = {**flag, "from": version, "to": version}
                entries.append(run)
            else:
                run = None
    return entries


def architectures_by_range(
    tables: Mapping[str, set[str]], earlier: Mapping[str, str], first_read: str
) -> dict[str, list[str]]:
    """Per architecture its first and last release; the last is left out where the newest release still has it.

    `earlier` knows the first release of what the oldest release that was read has already.
    """
    versions = list(tables)
    ranges: dict[str, list[str]] = {}
    for name in sorted(set().union(*tables.values())):
        having = [version for version in versions if name in tables[version]]
        first = earlier.get(name, having[0]) if having[0] == first_read else having[0]
        ranges[name] = [first] if having[-1] == versions[-1] else [first, having[-1]]
    return ranges


def quantizations_by_range(tables: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """One entry per method and run of releases with the same minimum capability."""
    return flags_by_range(
        {
            version: [{"name": name, "capability": floor} for name, floor in table.items()]
            for version, table in tables.items()
        }
    )


def one_per_line(head: Mapping[str, Any], key: str, rows: Sequence[Any] | Mapping[str, Any]) -> str:
    """JSON with the rows of `key` one to a line, so that a new release is a readable diff."""
    lines = [f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}," for name, value in head.items()]
    if isinstance(rows, Mapping):
        held = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
        opened, closed = "{", "}"
    else:
        held = [f"  {json.dumps(row, sort_keys=True)}" for row in rows]
        opened, closed = "[", "]"
    return "\n".join(["{", *lines, f" {json.dumps(key)}: {opened}", ",\n".join(held), f" {closed}", "}"]) + "\n"
