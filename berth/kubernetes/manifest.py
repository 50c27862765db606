"""Objects as YAML, for people, for reviews and for `kubectl apply`."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from berth.kubernetes.values import Object


def to_yaml(found: Sequence[Object]) -> str:
    """All objects as one file of several documents."""
    return "---\n".join(yaml.safe_dump(one, sort_keys=False, width=120, allow_unicode=True) for one in found)


def file_name(number: int, one: Object) -> str:
    """The name of an object's file in a folder of them, which sorts in the order of application."""
    return f"{number:03d}-{one['kind'].lower()}-{one['metadata']['name']}.yaml"
