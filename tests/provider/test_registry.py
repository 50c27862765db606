"""The registry finds every operation, and by its own name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from berth.provider import operations
from berth.provider.operation import Operation
from berth.provider.registry import OPERATIONS

MODULES = sorted(path.stem for path in Path(operations.__path__[0]).glob("[!_]*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_every_operation_is_registered(name: str) -> None:
    module = import_module(f"berth.provider.operations.{name}")
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    found = [one for one in classes if issubclass(one, Operation) and "kind" in vars(one)]
    assert [type(OPERATIONS.get(one.kind)) for one in found] == found, f"{name}: add it to berth/provider/registry.py"


def test_each_is_what_its_type_says() -> None:
    assert {kind: one.kind for kind, one in OPERATIONS.items()} == {kind: kind for kind in OPERATIONS}
