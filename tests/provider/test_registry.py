"""The registry finds every operation, and by its own name."""

from __future__ import annotations

from importlib import import_module
from inspect import get_annotations
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_args

import pytest

from berth.provider import operations, resources
from berth.provider.operation import Operation
from berth.provider.registry import OPERATIONS
from berth.provider.resources.resource import Resource

MODULES = sorted(path.stem for path in Path(operations.__path__[0]).glob("[!_]*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_every_operation_is_registered(name: str) -> None:
    module = import_module(f"berth.provider.operations.{name}")
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    found = [one for one in classes if issubclass(one, Operation) and "kind" in vars(one)]
    assert [type(OPERATIONS.get(one.kind)) for one in found] == found, f"{name}: add it to berth/provider/registry.py"


def test_each_is_what_its_type_says() -> None:
    assert {kind: one.kind for kind, one in OPERATIONS.items()} == {kind: kind for kind in OPERATIONS}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_components_declare_each_as_it_is(kind: str) -> None:
    """One class for each operation: of its declaration, and giving what it gives."""
    modules = [import_module(name) for _, name, _ in iter_modules(resources.__path__, f"{resources.__name__}.")]
    classes = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    (found,) = [one for one in classes if issubclass(one, Resource) and getattr(one, "kind", None) == kind]
    (want,) = get_args(vars(found)["__orig_bases__"][0])
    given = [name for name, kept in get_annotations(found).items() if "pulumi.Output[" in kept]
    assert (want.__forward_arg__, given) == (OPERATIONS[kind].wants.__name__, list(OPERATIONS[kind].output_names()))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("berth:host:File", {"path": "/f", "content": "s3cret", "mode": "0600", "sensitive": True}),
        ("berth:model:HubModel", {"repo": "a/b", "revision": "0" * 40, "token": "s3cret"}),
        (
            "berth:model:BucketModel",
            {
                **{"url": "s3://bucket/folder", "endpoint": "https://minio", "region": "r", "folder": "/f"},
                **{"access_key": "s3cret", "secret_key": "s3cret"},
            },
        ),
        ("berth:serving:SmokeTest", {"port": 1, "prompts": {}, "key": "s3cret"}),
        ("berth:serving:LoadTest", {"port": 1, "models": {}, "key": "s3cret"}),
        (
            "berth:gateway:Configuration",
            {
                **{"folder": "/g", "envoy": "/e", "admin_port": 1, "keys": {"alice": "s3cret"}},
                **{part: {} for part in ("bootstrap", "listeners", "clusters", "routes")},
            },
        ),
    ],
)
def test_a_declaration_shows_no_secret_where_it_is_printed(kind: str, said: dict[str, Any]) -> None:
    want = OPERATIONS[kind].wants(host="box", **said)
    assert "s3cret" in str(want.plain())
    assert "s3cret" not in repr(want)
