"""Objects as YAML, for people, for reviews and for `kubectl apply`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from berth.kubernetes.values import Object


class _Dumper(yaml.SafeDumper):
    """Writes files inside objects line by line, and everything out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(found: Sequence[Object]) -> str:
    """All objects as one file of several documents."""
    return "---\n".join(yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True) for one in found)


def file_name(number: int, one: Object) -> str:
    """The name of an object's file in a folder of them, which sorts in the order of application."""
    return f"{number:03d}-{one['kind'].lower()}-{one['metadata']['name']}.yaml"
