"""OpenShift AI's own example from a stack file: every field is as its documentation has it, or differs for a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.kubernetes import objects
from berth.planner.planning import plan
from berth.spec import load

STACK = Path(__file__).parents[2] / "stacks" / "openshift-ai.yaml"
DATA = Path(__file__).parent / "granite"
DOCUMENTS = {"ServingRuntime": "serving_runtime.yaml", "InferenceService": "inference_service.yaml"}


def read(name: str) -> Any:
    return yaml.safe_load((DATA / name).read_text())


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf by its path; entries of lists by their names where they have one, other lists are leaves."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from fields(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
        for one in value:
            rest = {key: inner for key, inner in one.items() if key != "name"}
            yield from fields(rest, f"{path}.{one['name']}")
    else:
        yield path, value


def of(table: Mapping[str, str], path: str) -> bool:
    """Whether the table has the field or a part around it."""
    return any(path == known or path.startswith(f"{known}.") for known in table)


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    decided = plan(load(STACK), "openshift-ai")
    return {one["kind"]: one for one in objects(decided, "ocp")}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_every_field_of_the_documentation_is_rendered_or_differs_for_a_reason(kind: str, rendered: dict[str, Any]):
    known, ours, table = dict(fields(read(DOCUMENTS[kind]))), dict(fields(rendered[kind])), read("deviations.yaml")
    left_out = {path for path in known if path not in ours}
    changed = {path for path in known if path in ours and ours[path] != known[path]}
    assert left_out == set(table["left_out"][kind])
    assert changed == set(table["changed"][kind])


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_what_is_rendered_beyond_the_documentation_has_a_reason(kind: str, rendered: dict[str, Any]):
    known, ours = dict(fields(read(DOCUMENTS[kind]))), dict(fields(rendered[kind]))
    added = read("deviations.yaml")["added"][kind]
    beyond = [path for path in ours if path not in known]
    assert [path for path in beyond if not of(added, path)] == []
    assert [path for path in added if not any(of({path: ""}, one) for one in beyond)] == [], "a reason for nothing"


def test_the_stack_makes_these_two_objects_alone(rendered: dict[str, Any]):
    assert set(rendered) == set(DOCUMENTS)
