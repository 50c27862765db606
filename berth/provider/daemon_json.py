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
