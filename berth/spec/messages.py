"""Turns what pydantic found into problems a person can act on, at the place where the file says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from berth.spec.document import Document, Where, spell
from berth.spec.keys import keys_at
from berth.spec.prerequisites import MEANINGS as OF_PREREQUISITES
from berth.spec.problems import Problem, nearest, one_of
from berth.spec.values import MEANINGS

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "left out",
}

_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def explain(
    error: ValidationError, document: Document, root: Where = (), *, partial: bool = False
) -> Iterator[Problem]:
    """Every problem of a validation, said in the words of the file.

    `root` is where the validated value stands in the file. A `partial` value (a default, a group) may lack keys.
    """
    found = error.errors(include_url=False)
    meant = {_meant(details["loc"], document, root) for details in found if details["type"] == "extra_forbidden"}
    for details in found:
        lacking = details["type"] in {"missing", "lacking", "too_short"}
        if not (partial and lacking) and (*root, *details["loc"]) not in meant:
            yield _problem(details, document, root)


def unknown_key(document: Document, where: Where, known: Iterable[str]) -> Problem:
    """A key that means nothing here, with the one that was probably meant."""
    listed = list(known)
    near = nearest(where[-1], listed)
    todo = f"did you mean {near}?" if near else f"known here: {', '.join(listed)}"
    return Problem(document.line(where), spell(where), f"is not a known key, must be removed or renamed; {todo}")


def _meant(loc: tuple[str | int, ...], document: Document, root: Where) -> Where:
    """The key that an unknown one was probably meant to be; when it is missing, that needs no line of its own."""
    where = (*root, *loc)
    near = nearest(loc[-1], keys_at(_origin(where, document)[:-1]))
    return (*where[:-1], near) if near not in {None, loc[-1]} else ()


def _problem(details: ErrorDetails, document: Document, root: Where) -> Problem:
    loc = [part for part in details["loc"] if not (isinstance(part, str) and part.startswith("|"))]
    context = details.get("ctx", {})
    at = tuple(part for part in str(context.get("at", "")).split(".") if part)
    key_is_wrong = loc[-1:] == ["[key]"]
    where = (*root, *(loc[:-1] if key_is_wrong else loc), *at)
    written = _origin(where, document)
    if details["type"] == "extra_forbidden":
        return unknown_key(document, written, keys_at(written[:-1]))
    text = _text(details, context, document.scalars.get(written, ""))
    if key_is_wrong:
        text = text.replace("is ", "is named ", 1)
    return Problem(document.line(written), spell(written), text)


def _text(details: ErrorDetails, context: Mapping[str, Any], written: str) -> str:
    kind, value = details["type"], details["input"]
    if kind in {"berth", "lacking"}:
        return str(context["text"])
    if kind == "missing":
        return "is missing, must be given"
    if kind in {"too_short", "string_too_short"}:
        return "is empty, must have at least one entry"
    must = f"valid: {details['msg'][:1].lower()}{details['msg'][1:]}"
    if kind in _TYPES:
        must = _TYPES[kind]
        if kind == "string_type" and isinstance(value, int | float):
            must += f'; put it in quotes: "{written}"'
    elif kind in _LIMITS:
        word, key = _LIMITS[kind]
        must = f"{word} {context[key]}"
    elif kind == "literal_error":
        must = _choice(value, str(context["expected"]))
    elif kind == "string_pattern_mismatch":
        must = {**MEANINGS, **OF_PREREQUISITES}.get(str(context["pattern"]), "text of another form")
    return f"is {show(value)}, must be {must}"


def _choice(value: Any, expected: str) -> str:
    words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(", ")]
    near = nearest(value, words) if isinstance(value, str) else None
    return one_of(words) + (f"; did you mean {near}?" if near else "")


def show(value: Any) -> str:
    """A value as a message shows it, short."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _origin(where: Where, document: Document) -> Where:
    """Where the file says what stands at a path after filling in: there, in the model, its group or the defaults."""
    candidates = [where, *_sources(where, document)]
    for candidate in candidates:
        if document.has(candidate):
            return candidate
    # Nothing is written there: the key is missing. The place nearest to what is written says it best.
    if len(where) > 3 and (where[0], where[2]) == ("models", "revisions") and not document.has(where[:4]):
        return (*where[:2], *where[4:])
    return where


def _sources(where: Where, document: Document) -> Iterator[Where]:
    match where:
        case ("models", name, "revisions", _, *rest):
            yield ("models", name, *rest)
            yield ("defaults", "model", *rest)
            if rest[:1] == ["engine"]:
                for engine in ("vllm", "sglang", "tgi"):
                    yield ("engines", engine, *rest[1:])
        case ("defaults", "model", "revisions", _, *rest):
            yield ("defaults", "model", *rest)
        case ("models", _, *rest):
            yield ("defaults", "model", *rest)
        case ("hosts", name, *rest):
            host = document.data["hosts"][name]
            group = host.get("group") if isinstance(host, dict) else None
            if isinstance(group, str):
                yield ("groups", group, *rest)
            yield ("defaults", "host", *rest)
