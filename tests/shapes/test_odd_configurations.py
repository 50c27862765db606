"""Whatever a model's config.json says, it gives a shape that can be planned with, or a note."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth.catalogue.models import read_config
from berth.catalogue.models.known import _rows
from berth.planner.planning import plan
from berth.shapes.checkpoint import Checkpoint, shape_of
from berth.shapes.files import Unreadable
from berth.spec import loads

CONFIGS = {name: row["config"] for name, row in _rows().items() if "like" not in row}
ODD: list[Any] = [0, -1, 1, 7, "x", "", None, [], {}, [1, 2], ["a"], {"a": 1}, 1e300, 10**30, True, False, 0.5]
STACK = loads("""\
hosts: {here: {connection: local, gpus: [{model: l4, count: 2}]}}
models:
  odd:
    source: {path: /models/odd}
    engine: {name: vllm, version: 0.11.0}
    place: [{host: here, gpus: [0, 1]}]
    parallel: {tensor: 2}
    context: 256
""")


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """A known model's configuration with some values changed, wherever they lie."""
    config = copy.deepcopy(CONFIGS[draw(st.sampled_from(sorted(CONFIGS)))])
    for _ in range(draw(st.integers(1, 3))):
        part = config
        while part:
            key = draw(st.sampled_from(sorted(part)))
            if not isinstance(part[key], dict) or draw(st.booleans()):
                part[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
                break
            part = part[key]
    return dict(config)


@settings(max_examples=300, deadline=None)
@given(changed())
def test_any_configuration_is_planned_or_refused(config: dict[str, Any]) -> None:
    try:
        shape = shape_of(Checkpoint(config=config), name="odd", origin="here")
    except Unreadable:
        return
    assert plan(STACK, "test", shapes={"/models/odd": shape}).replicas


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_no_known_model_is_taken_for_odd(name: str) -> None:
    config = json.loads(json.dumps(CONFIGS[name]))
    shape = shape_of(Checkpoint(config=config), name=name, origin="here")
    assert shape == read_config(config, name=name, origin="here: config.json")
