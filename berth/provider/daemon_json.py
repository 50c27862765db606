"""Docker's daemon.json as text and values: read strictly, merged key by key, written back in its own form.

Values are plain: mappings by key, everything else as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_INDENT = re.compile(r"^([ \t]+)\S", re.MULTILINE)


class Unreadable(Exception):
    """A text that is no JSON object; the message says where and why, for a person to repair it."""


def parse(text: str) -> dict[str, Any]:
    """The settings in a file; Docker takes a blank one for no settings.

    Raises:
        Unreadable: it is no JSON object as Docker reads it.
    """
    if not text.strip().strip("\ufeff"):
        return {}
    try:
        found = json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise Unreadable(f"line {error.lineno} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    if not isinstance(found, dict):
        raise Unreadable(f"is {_KINDS.get(type(found), 'a value')}, must be an object in braces")
    return found


_KINDS = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number", type(None): "null"}


def _refuse(word: str) -> None:
    raise Unreadable(f"{word} is no value of JSON")


def projected(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is there only what is asked for, in the same nesting."""
    return {
        key: projected(found[key], value)
        if isinstance(value, Mapping) and isinstance(found[key], Mapping)
        else found[key]
        for key, value in wanted.items()
        if key in found
    }


def merged(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is there with what is wanted over it; the order of the file is kept, new keys come last."""
    new = dict(found)
    for key, value in wanted.items():
        before = found.get(key)
        nested = isinstance(value, Mapping) and isinstance(before, Mapping)
        new[key] = merged(before, value) if nested and before is not None else value
    return new


def without(found: Mapping[str, Any], unwanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is there less what is unwanted, and less the mappings that this leaves empty."""
    new: dict[str, Any] = {}
    for key, value in found.items():
        if key not in unwanted:
            new[key] = value
        elif isinstance(value, Mapping) and isinstance(unwanted[key], Mapping):
            if rest := without(value, unwanted[key]):
                new[key] = rest
        elif value != unwanted[key]:
            new[key] = value
    return new


_OF_FILES = {"json-file", "local"}
"""The log drivers that know `max-size` and `max-file`."""


def lacking(found: Mapping[str, Any], said: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What of the defaults is to be added to what is there and what is `said` beside it.

    A key that is there stays as it is; `log-opts` go with their driver, and a limit of `default-ulimits` that is too
    low is raised where nothing is said of it.
    """
    together = merged(found, said)
    new = {key: value for key, value in defaults.items() if key not in {*together, "log-opts", "default-ulimits"}}
    if "log-opts" not in found and together.get("log-driver", "json-file") in _OF_FILES:
        named = said.get("log-opts", {})
        options = {key: value for key, value in defaults.get("log-opts", {}).items() if key not in (named or ())}
        new |= {"log-opts": options} if options else {}
    limits, declared = together.get("default-ulimits", {}), said.get("default-ulimits", {})
    if isinstance(limits, Mapping):
        raised = {
            name: values
            for name, least in defaults.get("default-ulimits", {}).items()
            if (values := _raised(limits.get(name, {}), declared.get(name, {}), least))
        }
        new |= {"default-ulimits": raised} if raised else {}
    return new


def _raised(there: Any, said: Mapping[str, Any], least: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a limit that are missing or too low, less those that are said; soft is never above hard."""
    if not isinstance(there, Mapping):
        return {}
    new = {**there, **{part: _more(there.get(part), value) for part, value in least.items() if part not in said}}
    soft, hard = new.get("Soft"), new.get("Hard")
    if isinstance(soft, int) and isinstance(hard, int) and hard != _UNLIMITED and not _UNLIMITED < soft <= hard:
        new |= {"Soft": hard} if "Hard" in said else {"Hard": soft}
    return {part: value for part, value in new.items() if there.get(part) != value}


_UNLIMITED = -1


def _more(there: Any, least: Any) -> Any:
    if there is None:
        return least
    low = isinstance(there, int) and isinstance(least, int) and _UNLIMITED < there < least
    return least if low else there


def rendered(settings: Mapping[str, Any], like: str | None) -> str:
    """The settings as text, indented and ended as the text that they came from; None is for a new file."""
    if like is None or not like.strip():
        return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    found = _INDENT.search(like)
    indent = found[1] if found else None if "\n" not in like.strip() else 0
    text = json.dumps(settings, indent=indent, ensure_ascii=False)
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        text = json.dumps(settings, indent=indent)  # half a character, which only an escape can write
    return text + ("\n" if like.endswith("\n") else "")
