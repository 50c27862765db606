"""Whether objects have the shape that a release of KServe's own definitions give them; nothing is asked of a cluster.

The API server drops fields that it does not know. Here they are refused: a dropped field is a typo that nobody sees.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from berth.kubernetes.values import Object

GROUP = "serving.kserve.io/"


@cache
def releases() -> tuple[tuple[int, int], ...]:
    """The releases of KServe whose definitions are here, oldest first."""
    folder = resources.files(__package__).joinpath("schemas")
    found = (one.name.split(".") for one in folder.iterdir() if one.is_dir() and not one.name.startswith("_"))
    return tuple(sorted((int(major), int(minor)) for major, minor in found))


def nearest_release(version: tuple[int, int]) -> tuple[int, int]:
    """The newest known release that is not newer than this one; the oldest for those before it."""
    known = [one for one in releases() if one <= version]
    return known[-1] if known else releases()[0]


@dataclass(frozen=True)
class Flaw:
    """A field that is not as KServe defines it; one that is only too many leaves the object readable."""

    where: str
    text: str
    surplus: bool = False


def flaws(one: Object, version: tuple[int, int]) -> Iterator[Flaw]:
    """Each field of an object that is not as KServe defines it; other groups have none."""
    if not one["apiVersion"].startswith(GROUP) or one["kind"] == "LLMInferenceServiceConfig":  # ours is empty
        return
    release = nearest_release(version)
    validator = _validator(release, one["kind"], one["apiVersion"].removeprefix(GROUP))
    if validator is None:
        text = f"is {one['kind']} {one['apiVersion']}, which KServe {_text(release)} does not have; use a newer one"
        yield Flaw("kind", text)
        return
    for error in validator.iter_errors(one):
        yield from _said(error, release)


@cache
def _validator(release: tuple[int, int], kind: str, api: str) -> Draft202012Validator | None:
    file = resources.files(__package__).joinpath("schemas", _text(release), f"{kind}.{api}.json")
    return Draft202012Validator(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _said(error: ValidationError, release: tuple[int, int]) -> Iterator[Flaw]:
    where = _path(error)
    value: Any = error.instance
    match error.validator:
        case "additionalProperties":
            schema: Any = error.schema
            known = schema["properties"]
            for name in value:
                if name not in known:
                    text = f"is no field of KServe {_text(release)}{_hint(name, known)}"
                    yield Flaw(_joined(where, name), text, surplus=True)
        case "required":
            wanted: Any = error.validator_value
            lacking = [name for name in wanted if name not in value]
            yield Flaw(where, f"has no {' and no '.join(lacking)}, must have it")
        case "anyOf" | "oneOf":
            reason = best_match([error])
            why = f": {reason.message}" if reason is not None else ""
            yield Flaw(where, f"is {_short(value)}, must be as KServe defines it{why}")
        case _:
            yield Flaw(where, f"is {_short(value)}, must be of {error.validator} {_short(error.validator_value)}")


def _hint(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f", must be one of {', '.join(sorted(known)[:12])}"


def _path(error: ValidationError) -> str:
    text = ""
    for part in error.absolute_path:
        text = f"{text}[{part}]" if isinstance(part, int) else _joined(text, str(part))
    return text


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 80 else f"{text[:77]}..."


def _text(release: tuple[int, int]) -> str:
    return ".".join(map(str, release))
