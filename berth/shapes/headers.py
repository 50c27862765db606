"""The header of one safetensors file, from its first bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from berth.catalogue.models import header_of
from berth.shapes.files import Unreadable

__all__ = ["header"]

_FIRST = 100_000
"""Bytes that are asked for at once: most headers are shorter, as huggingface_hub found, which takes the same number."""

_LENGTH = 8
_LARGEST = 100_000_000
"""The format's own limit; a longer one is no header."""


class _Tensor(BaseModel):
    dtype: str
    shape: tuple[Annotated[int, Field(ge=0)], ...]


_TENSORS = TypeAdapter(dict[str, _Tensor])


def header(name: str, start: Callable[[int], bytes]) -> Mapping[str, Any]:
    """The header of a file.

    Args:
        name: the file's name, for messages.
        start: gives the first so many bytes of the file, or all that it has.

    Raises:
        Unreadable: it has none.
    """
    found = start(_FIRST)
    needed = _LENGTH + int.from_bytes(found[:_LENGTH], "little")
    if len(found) < needed <= _LARGEST:
        found = start(needed)
    try:
        said = header_of(found)
        said.pop("__metadata__", None)
        _TENSORS.validate_python(said)
    except ValidationError:
        raise Unreadable(f"{name} has tensors without type or shape; check the file") from None
    except (ValueError, RecursionError) as problem:
        raise Unreadable(f"{name} cannot be read ({problem}); check the file") from None
    return said
