"""The kinds of values that stack files are made of: names, secrets, amounts, durations, shares."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from berth.catalogue.units import Bytes


class Section(BaseModel):
    """A part of a stack file: frozen, strict about types, and unknown keys are refused.

    Fields are described by the string below them; editors show it, from the generated JSON Schema.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def wrong(text: str, at: str = "") -> PydanticCustomError:
    """A mistake in our words; `at` names the key below the value being looked at, if it is one.

    The text is kept from pydantic's own formatting, since it may contain what the user wrote.
    """
    return PydanticCustomError("berth", "{text}", {"text": text, "at": at})


def lacking(text: str, at: str = "") -> PydanticCustomError:
    """As `wrong`, for what is not said at all: no mistake in a default, which others complete."""
    return PydanticCustomError("lacking", "{text}", {"text": text, "at": at})


def _duration(value: Any) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10**8:
        return float(value)
    found = re.fullmatch(r"(\d{1,8}(?:\.\d+)?)\s*([smhd])", value) if isinstance(value, str) else None
    if found is None or float(found[1]) == 0:
        raise wrong(f"is {value!r}, must be a time above zero; write it as 90s, 10m, 2h or in seconds")
    return float(found[1]) * units[found[2]]


def _size(value: Any) -> Bytes:
    if isinstance(value, str):
        try:
            size = Bytes.parse(value)
        except (ValueError, OverflowError):
            size = Bytes(0)
        if size > 0:
            return size
    raise wrong(f"is {value!r}, must be an amount of memory above zero; write it as 16 GiB or 500 MB")


def _percent_or_fraction(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    hint = ""
    if isinstance(value, int | float) and 2 <= value <= 100:
        hint = f"; for {value:g} percent of the card write {value / 100:g}"
    raise wrong(f"is {value!r}, must be above 0 and at most 1, a fraction of the card's total memory{hint}")


_NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
_LABEL = r"^[a-z0-9]{1,20}$"
_SECRET = r"^[a-z0-9_]{1,64}$"  # noqa: S105 - the pattern of names, not a secret
_SERVED = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,199}$"
_TEXT = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
_WORD = r"^[a-z0-9][a-z0-9_-]{0,40}$"
FLAG = r"^(--)?[A-Za-z][A-Za-z0-9_.-]{0,99}$"
PREFIX = r"^/([A-Za-z0-9._-]+/)+$"
RESOURCE = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
RUNTIME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"

MEANINGS = {
    _NAME: "lower-case letters, digits and dashes, at most 40, such as qwen-3b",
    _LABEL: "lower-case letters and digits, at most 20, such as main or v2",
    _SECRET: "the name of a secret: lower-case letters, digits and underscores, such as hf_token",
    _SERVED: "letters, digits and . _ : / @ + -, such as Qwen/Qwen2.5-3B-Instruct",
    _VARIABLE: "a variable name: letters, digits and underscores, such as HF_HOME",
    _WORD: "one lower-case word, such as fp8",
    FLAG: "the name of a flag, with or without its dashes",
    RESOURCE: "the name of a resource of nodes, such as nvidia.com/gpu",
    RUNTIME: "a ServingRuntime's resource name (lower case, as `kubectl get servingruntimes` lists it), "
    "not the name that the dashboard shows",
    PREFIX: "a path that starts and ends with a slash, such as /qwen/",
    _TEXT: "one line of text that is not empty",
}
"""What the patterns mean, for messages."""

Name = Annotated[str, Field(pattern=_NAME)]
"""A name that is valid on every host and cluster: it becomes part of units, folders, containers and Services."""

Label = Annotated[str, Field(pattern=_LABEL)]
"""A short name without dashes, so that `model-label-0` can be read back."""

SecretName = Annotated[str, Field(pattern=_SECRET)]
"""The name of a secret, never its value."""

ServedName = Annotated[str, Field(pattern=_SERVED)]
"""A name under which clients ask for a model; unlike our own names it may look like a repository."""

VariableName = Annotated[str, Field(pattern=_VARIABLE)]
"""The name of an environment variable."""

Text = Annotated[str, Field(pattern=_TEXT, max_length=4096)]
"""One line of text that is not empty."""

Word = Annotated[str, Field(pattern=_WORD)]
"""A word that an engine gives its meaning to."""

Port = Annotated[int, Field(ge=1, le=65535)]

Count = Annotated[int, Field(ge=1, le=10**9)]

Index = Annotated[int, Field(ge=0, le=1023)]

Duration = Annotated[
    float,
    PlainValidator(_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^\d{1,8}(\.\d+)?\s*[smhd]$"},
            ]
        }
    ),
]
"""A time in seconds, written as a number of seconds or as 90s, 10m, 2h."""

Size = Annotated[
    Bytes,
    PlainValidator(_size),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KkMmGgTt]?[Ii]?[Bb])?\s*$"}),
]
"""An amount of memory with its unit."""

Fraction = Annotated[
    float,
    PlainValidator(_percent_or_fraction),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
]
"""A fraction of one card's total memory."""
