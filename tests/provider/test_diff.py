"""Which paths differ, in Pulumi's own path syntax."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.provider.diff import Change, changes
from berth.provider.wire import UNKNOWN

keys = st.text(max_size=4)
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Change("a", "update")]),
        ({}, {"a": 2}, [Change("a", "add")]),
        ({"a": 2}, {}, [Change("a", "delete")]),
        ({"a": None}, {}, []),
        ({"a": None}, {"a": 0}, [Change("a", "add")]),
        ({"a": 1}, {"a": None}, [Change("a", "delete")]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [Change("a.c", "update")]),
        ({"a": {"b.c": 1}}, {"a": {"b.c": 2}}, [Change('a["b.c"]', "update")]),
        ({"a": {'"': 1}}, {"a": {'"': 2}}, [Change('a["\\""]', "update")]),
        ({"a": [1, 2, 3]}, {"a": [1, 5]}, [Change("a[1]", "update"), Change("a[2]", "delete")]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}, {"b": 3}]}, [Change("a[0].b", "update"), Change("a[1]", "add")]),
        ({"a": {"b": 1}}, {"a": [1]}, [Change("a", "update")]),
        ({"a": "1"}, {"a": 1}, [Change("a", "update")]),
        ({"a": True}, {"a": 1}, [Change("a", "update")]),
        ({"a": 0}, {"a": False}, [Change("a", "update")]),
        ({"a": "x"}, {"a": UNKNOWN}, [Change("a", "update")]),
        ({"a": UNKNOWN}, {"a": UNKNOWN}, [Change("a", "update")]),
        ({"a": {"b": 1}}, {"a": UNKNOWN}, [Change("a", "update")]),
        ({}, {"a": UNKNOWN}, [Change("a", "add")]),
        ({"b": 1, "a": 1}, {"c": 1}, [Change("a", "delete"), Change("b", "delete"), Change("c", "add")]),
    ],
)
def test_each_leaf_that_differs_is_named(old: Any, new: Any, expected: list[Change]) -> None:
    assert changes(old, new) == expected


@given(values)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert changes({"v": value}, {"v": value}) == []


@given(values, values)
def test_there_and_back_name_the_same_paths_with_add_and_delete_swapped(old: Any, new: Any) -> None:
    swapped = {"add": "delete", "delete": "add", "update": "update"}
    there = [(change.path, change.kind) for change in changes({"v": old}, {"v": new})]
    back = [(change.path, swapped[change.kind]) for change in changes({"v": new}, {"v": old})]
    assert there == back


@given(values, values)
def test_values_without_null_differ_exactly_when_their_text_does(old: Any, new: Any) -> None:
    def same(one: Any, other: Any) -> bool:
        return repr(_sorted(one)) == repr(_sorted(other))

    if "None" not in repr(old) + repr(new):
        assert (changes({"v": old}, {"v": new}) == []) == same(old, new)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
