"""From an intent and a user's own flags to the flags of one engine release, checked against that release's table.

What is particular to an engine comes in as data: which key of a stack file owns which flag, and what became of flags
that are gone. Everything wrong is noted, nothing raised, so that one run tells all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from packaging.version import Version

from berth.catalogue.engine_versions import Flag, Flags, flags
from berth.engines.contract import Argument, Note, Rendered

Value = Argument | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Owned:
    """A flag that a key of the stack file owns. `said` is how to say it there, or who else decides it."""

    key: str | None
    said: str


@dataclass(frozen=True, kw_only=True)
class Gone:
    """What became of a flag. It counts from release `since` on (which may be before the release that lost the flag).

    `render` gives the flags that say the same today (none: the flag is dropped), or None to refuse; `why` is the
    sentence's end: why it went or what replaces it.
    """

    since: str
    why: str
    render: Callable[[Any], Mapping[str, Any] | None] = field(default=lambda _value: {})


class Rendering:
    """Collects arguments and notes for one release."""

    def __init__(self, engine: str, version: str, *, owned: Mapping[str, Owned], gone: Mapping[str, Gone]) -> None:
        self.engine, self.version = engine, version
        self.table: Flags = flags(engine, version)
        self.owned, self.gone = owned, gone
        self.arguments: dict[str, Value] = {}
        self.environment: dict[str, str] = {}
        self.notes: list[Note] = []
        if not self.table.exact:
            self.warn(
                "engine.version",
                f"is {version}, whose flags Berth does not know; they were checked against {self.table.read_from}",
            )

    def note(self, where: str, text: str) -> None:
        """Something the reader should know."""
        self.notes.append(Note(severity="note", where=where, text=text))

    def warn(self, where: str, text: str) -> None:
        """Something that may go wrong."""
        self.notes.append(Note(severity="warning", where=where, text=text))

    def refuse(self, where: str, text: str) -> None:
        """Something that cannot work."""
        self.notes.append(Note(severity="refusal", where=where, text=text))

    def intend(self, key: str, name: str, value: Any) -> None:
        """What the key of a stack file becomes: a flag of this release, or a refusal when it has none."""
        flag = self.table.find(name)
        if flag is None:
            self.refuse(key, f"is {_shown(value)}, but {self._lacks(name)}")
            return
        problem = self._problem(flag, value)
        if problem is not None:
            self.refuse(key, f"is {_shown(value)}, {problem}")
            return
        self.arguments[flag.name] = _rendered(flag, value)

    def has(self, name: str) -> bool:
        """Whether this release has the flag."""
        return self.table.find(name) is not None

    def take(self, args: Mapping[str, Any]) -> None:
        """Checks the user's own flags and adds them."""
        later = []
        for said, value in args.items():
            where, name = f"args.{said.lstrip('-')}", said.lstrip("-").partition(".")[0].replace("_", "-")
            gone = self.gone.get(name)
            if gone is None or Version(self.version) < Version(gone.since):
                self._take_one(where, said, value)
            elif value is not None:
                later.append((where, gone, value))
        for where, gone, value in later:  # what replaces them may join what was said outright
            self._replace(where, gone, value)

    def pass_on(self, unchecked: Mapping[str, Any]) -> None:
        """Adds flags as they are; what is known to be owned by a key stays refused, since both would be said."""
        for said, value in unchecked.items():
            where, name = f"unchecked_args.{said.lstrip('-')}", said.lstrip("-").replace("_", "-")
            if self._refuse_owned(where, name):
                continue
            self.arguments[name] = _plain(value)
            self.note(where, "is passed on unchecked")

    def done(self) -> Rendered:
        """The outcome."""
        return Rendered(arguments=self.arguments, environment=self.environment, notes=tuple(self.notes))

    def _take_one(self, where: str, said: str, value: Any) -> None:
        name, dot, rest = said.lstrip("-").partition(".")
        name = name.replace("_", "-")
        flag = self.table.find(name)
        if self._refuse_owned(where, flag.name if flag is not None else name) or value is None:
            return
        if flag is None:
            self._unknown(where, name, value)
        elif dot and flag.type == "json":
            self.arguments[f"{flag.name}.{rest}"] = _plain(value)
        elif (problem := self._problem(flag, value)) is not None:
            self.refuse(where, f"is {_shown(value)}, {problem}")
        elif flag.name in self.arguments:
            self.refuse(where, f"says --{flag.name} once more, must be said once; take one away")
        else:
            inverse = name in flag.inverses
            self.arguments[flag.name] = _rendered(flag, (not value) if inverse else value)

    def _refuse_owned(self, where: str, name: str) -> bool:
        owned = self.owned.get(name)
        if owned is None:
            return False
        if owned.key is None:
            self.refuse(where, f"must be left out: {owned.said}")
        else:
            self.refuse(where, f"has a key of its own, must be said there; write `{owned.said}`")
        return True

    def _replace(self, where: str, gone: Gone, value: Any) -> None:
        instead = gone.render(value)
        if instead is None:
            self.refuse(where, f"must be left out with {self.engine} {self.version}: {gone.why}")
            return
        for name, new in instead.items():
            flag = self.table.find(name)
            held = self.arguments.get(name)
            joined = new if held is None else _joined(held, new)
            if flag is None or joined is None:
                self.refuse(where, f"and --{name} say the same thing, must be said once; take one away")
                return
            self.arguments[flag.name] = _rendered(flag, joined)
        verb = f"is rendered as {' '.join(f'--{name}' for name in instead)}" if instead else "is left out"
        self.note(where, f"{verb} with {self.engine} {self.version}: {gone.why}")

    def _unknown(self, where: str, name: str, value: Any) -> None:
        if not self.table.exact:
            self.warn(where, f"is not a flag of {self.engine} {self.table.read_from} and is passed on")
            self.arguments[name] = _plain(value)
            return
        near = get_close_matches(name, self.table.by_name, n=1, cutoff=0.6)
        elsewhere = self.table.releases_with(name)
        hint = f"; the nearest is {near[0].replace('-', '_')}" if near and not elsewhere else ""
        self.refuse(where, f"{self._lacks(name)}{hint}; to pass it on as it is, move it to unchecked_args")

    def _problem(self, flag: Flag, value: Any) -> str | None:
        """What is wrong with a value; a choice that other releases take is said to be theirs."""
        problem = _problem(flag, value)
        if problem is None or not isinstance(value, str) or not flag.choices:
            return problem
        spans = self.table.releases_taking(flag.name, value)
        if not spans:
            return problem
        return f"which {self.engine} {self.version} does not take; {_spans(spans)} do; {problem}"

    def _lacks(self, name: str) -> str:
        spans = self.table.releases_with(name)
        if not spans:
            return f"{self.engine} has no --{name} in any release Berth knows"
        return f"{self.engine} {self.version} has no --{name}; {_spans(spans)} have it"


def _spans(runs: Iterable[tuple[str, str]]) -> str:
    return " and ".join(first if first == last else f"{first} to {last}" for first, last in runs)


def _problem(flag: Flag, value: Any) -> str | None:
    """What is wrong with a value for a flag: `must be …`; None when nothing is."""
    if flag.many is not None and isinstance(value, (list, tuple)):
        return next((problem for item in value if (problem := _single(flag, item)) is not None), None)
    return _single(flag, value)


def _single(flag: Flag, value: Any) -> str | None:
    checks: Mapping[str, tuple[Callable[[Any], bool], str]] = {
        "switch": (lambda held: isinstance(held, bool), "must be true or false"),
        "int": (_whole, "must be a whole number"),
        "float": (_number, "must be a number"),
        "str": (lambda held: isinstance(held, (str, int, float)) and not isinstance(held, bool), "must be text"),
        "json": (_structured, "must be a mapping, a list or JSON text"),
    }
    fits, must = checks[flag.type]
    if not fits(value):
        if flag.many is None or flag.type == "json":
            return must
        return f"{must}, or a list of such"
    if flag.choices and not isinstance(value, (dict, list)) and str(value) not in {str(held) for held in flag.choices}:
        ordered = sorted(flag.choices, key=lambda held: (0, held, "") if isinstance(held, int) else (1, 0, held))
        return f"must be one of {', '.join(map(str, ordered))}"
    return None


def _whole(value: Any) -> bool:
    """As vLLM and SGLang read whole numbers: also 1k, 2K (1024 times), 25.6k, and auto and -1 for a context."""
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+|\d+(\.\d+)?[kKmMgGtT]|auto", value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+(\.\d+)?([eE]-?\d+)?", value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _structured(value: Any) -> bool:
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return re.fullmatch(r"[\w.+-]+(=[\w.+-]+)?", value) is not None  # shorthands: image=2, a level, a name
        return True
    return isinstance(value, (dict, list, tuple, int)) and not isinstance(value, bool)


def _rendered(flag: Flag, value: Any) -> Value:
    if flag.type == "switch" and value is False and not flag.negatable:
        return None  # a switch that can only be turned on is off when it is not there
    if flag.type == "json" and isinstance(value, (list, tuple)) and flag.many is None:
        return json.dumps(list(value), separators=(",", ":"))
    return _plain(value)


def _joined(held: Any, new: Any) -> dict[str, Any] | None:
    """Two JSON objects as one, what was said outright winning; None when they are none."""
    parts = []
    for part in (held, new):
        try:
            parts.append(json.loads(part) if isinstance(part, str) else part)
        except ValueError:
            return None
    first, second = parts
    return {**second, **first} if isinstance(first, Mapping) and isinstance(second, Mapping) else None


def _plain(value: Any) -> Value:
    if isinstance(value, Mapping):
        return json.dumps(dict(value), separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return tuple(str(_plain(item)) for item in value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value, default=str)
