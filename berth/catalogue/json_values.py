"""JSON on command lines."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any, NoReturn

_DEEPEST = 50
"""No flag has more levels; what walks through a value may go so deep."""


def json_value(text: str) -> Any:
    """The value of a text.

    Raises:
        ValueError: it is no JSON, holds a number that is none, or is nested deeper than any flag's value.
    """
    if max(accumulate((letter in "{[") - (letter in "}]") for letter in text), default=0) > _DEEPEST:
        raise ValueError("nested too deep")
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
