"""Property values <-> plain Python, at the edge; nobody else imports `PropertyValue`.

Pulumi's experimental values refuse integers, cannot be hashed, compare secretness and dependencies with the value, and
give an unknown as a string that looks like a UUID. Inside the provider there are only None, bool, int, float, str, list
and dict, and `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from pulumi.provider.experimental.property_value import Computed, PropertyValue
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


def to_plain(value: PropertyValue) -> Any:
    """One property value as plain Python; whole numbers become int."""
    inner = value.value
    if inner is None or isinstance(inner, bool):
        return inner
    if isinstance(inner, str):
        return UNKNOWN if inner in SENTINELS else inner
    if isinstance(inner, Computed):
        return UNKNOWN
    if isinstance(inner, float):
        return int(inner) if inner.is_integer() else inner
    if isinstance(inner, Mapping):
        return {key: to_plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence):
        return [to_plain(item) for item in inner if isinstance(item, PropertyValue)]
    raise TypeError(f"{type(inner).__name__} is not a value that the provider takes")


def to_plain_map(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """All properties of a resource as plain Python; the engine's own `__` properties are left out."""
    return {key: to_plain(value) for key, value in values.items() if not key.startswith("__")}


def to_wire(value: Any) -> PropertyValue:
    """Plain Python as a property value; `UNKNOWN` as the engine's own sentinel."""
    if value is UNKNOWN:
        return PropertyValue(rpc.UNKNOWN)
    if isinstance(value, bool) or value is None:
        return PropertyValue(value)
    if isinstance(value, int | float):
        return PropertyValue(float(value))
    if isinstance(value, str):
        return PropertyValue(value)
    if isinstance(value, Mapping):
        return PropertyValue({str(key): to_wire(item) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return PropertyValue([to_wire(item) for item in value])
    raise TypeError(f"{type(value).__name__} cannot be sent to the engine")


def to_wire_map(values: Mapping[str, Any]) -> dict[str, PropertyValue]:
    """All properties of a resource for the engine."""
    return {key: to_wire(value) for key, value in values.items()}


def has_unknown(value: Any) -> bool:
    """Whether a plain value is or holds an unknown."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN
