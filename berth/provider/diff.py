"""Which paths of two nested plain values differ, in Pulumi's own path syntax."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from berth.provider.wire import UNKNOWN

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MISSING = object()


@dataclass(frozen=True)
class Change:
    """One path that differs and how."""

    path: str
    kind: Literal["add", "update", "delete"]


def changes(old: Any, new: Any) -> list[Change]:
    """All leaves that differ, in a stable order; an unknown always differs."""
    return list(_walk("", old, new))


def _walk(path: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _walk(_join(path, key), old.get(key, _MISSING), new.get(key, _MISSING))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _MISSING
            after = new[index] if index < len(new) else _MISSING
            yield from _walk(f"{path}[{index}]", before, after)
    elif _absent(old) and _absent(new):
        return
    elif _absent(old):
        yield Change(path, "add")
    elif _absent(new):
        yield Change(path, "delete")
    elif new is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):  # to Python, True is 1
        yield Change(path, "update")


def path_of(parts: Iterable[str | int]) -> str:
    """Steps into a nested value as one path."""
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path


def _absent(value: Any) -> bool:
    """The engine drops nulls, so that null and missing are one."""
    return value is _MISSING or value is None


def _join(path: str, key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key)}]"
