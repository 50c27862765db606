"""Protobuf's values <-> plain Python, at the edge; nobody else takes them apart.

Inside the provider there are only None, bool, int, float, str, list and dict, and `UNKNOWN`. The SDK's own property
values are left out: to make and check one for every part of every message took a third of the provider's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value
from pulumi.runtime import rpc


class Unknown(Enum):
    """A value that is not known before the update; `UNKNOWN` is the only one."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN

SENTINELS: Final = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
"""Unknowns as the engine sends them, by element type: sdk/go/common/resource/plugin/rpc.go of pulumi 3.250.0."""

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
"""The key of maps that are something else: what it is stands there, what is in it under `value`."""
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- a mark of the protocol
"""A provider's configuration comes with its secrets marked, before it could say that it does not take marks."""


def to_plain(value: Value) -> Any:
    """One value as plain Python; whole numbers become int.

    Raises:
        TypeError: it is an asset, an archive, an output or a reference to a resource.
    """
    match value.WhichOneof("kind"):
        case "string_value":
            text = value.string_value
            return UNKNOWN if text in SENTINELS else text
        case "bool_value":
            return value.bool_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "struct_value":
            return _inside(value.struct_value)
        case "list_value":
            return [to_plain(item) for item in value.list_value.values]
        case _:
            return None


def _inside(struct: Struct) -> Any:
    fields = struct.fields
    if _SIGNATURE not in fields:
        return {key: to_plain(item) for key, item in fields.items()}
    if fields[_SIGNATURE].string_value == _SECRET:
        return to_plain(fields["value"])
    raise TypeError("the engine sent an asset, an output or a reference, which this provider does not take")


def to_plain_map(struct: Struct) -> dict[str, Any]:
    """All properties of a resource as plain Python; the engine's own `__` properties are left out."""
    return {key: to_plain(value) for key, value in struct.fields.items() if not key.startswith("__")}


def to_wire_map(values: Mapping[str, Any]) -> Struct:
    """All properties of a resource for the engine; `UNKNOWN` as the engine's own sentinel.

    Raises:
        TypeError: a value is nothing that the engine knows.
    """
    struct = Struct()
    for key, value in values.items():
        _put(struct.fields[key], value)
    return struct


def _put(target: Value, value: Any) -> None:
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif value is None:
        target.null_value = NULL_VALUE
    elif value is UNKNOWN:
        target.string_value = rpc.UNKNOWN
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()  # also where there is nothing in it
        for key, item in value.items():
            _put(target.struct_value.fields[str(key)], item)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        target.list_value.SetInParent()
        for item in value:
            _put(target.list_value.values.add(), item)
    else:
        raise TypeError(f"{type(value).__name__} cannot be sent to the engine")


def has_unknown(value: Any) -> bool:
    """Whether a plain value is or holds an unknown."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN
