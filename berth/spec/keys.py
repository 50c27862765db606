"""Which keys a stack file knows at each of its places, read from the sections' own fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel

from berth.spec.document import Where
from berth.spec.models import Model, Revision
from berth.spec.stack import Stack


def keys_at(where: Where) -> tuple[str, ...]:
    """The keys known at a path of the file; none for places whose keys are the user's own names."""
    match where:
        case ():
            return (*Stack.model_fields, "defaults", "groups", "engines")
        case ("defaults", "host", *rest) | ("groups", _, *rest):
            where = ("hosts", "", *rest)
        case ("defaults", "model", *rest):
            where = ("models", "", *rest)
        case ("engines", _, *rest):
            where = ("models", "", "engine", *rest)
    kinds: list[object] = [Stack]
    for part in where:
        kinds = [inner for kind in kinds for inner in _step(kind, part)]
    return tuple(dict.fromkeys(key for kind in kinds for key in _fields(kind)))


def _fields(kind: object) -> Iterator[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from kind.model_fields
        if kind is Model:
            yield from Revision.model_fields


def _step(kind: object, part: str | int) -> Iterator[object]:
    """The kinds of value that may stand below a kind, at one key or index."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {**Revision.model_fields, **Model.model_fields} if kind is Model else kind.model_fields
        if part in fields:
            yield from _members(fields[str(part)].annotation)
    else:
        origin, inner = get_origin(kind), get_args(kind)
        if origin is Mapping and len(inner) == 2:
            yield from _members(inner[1])
        elif origin is tuple and inner:
            yield from _members(inner[0])


def _members(annotation: object) -> Iterator[object]:
    """The kinds behind an annotation: members of unions, without what decorates them."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation
