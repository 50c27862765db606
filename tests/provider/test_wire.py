"""Values on their way between the engine and the provider; each trap of the experimental SDK by a test of its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

from berth.provider.wire import (
    SENTINELS,
    UNKNOWN,
    has_unknown,
    to_plain,
    to_plain_map,
    to_wire,
    to_wire_map,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda text: text not in SENTINELS)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.just(UNKNOWN)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def over_the_wire(value: object) -> object:
    """As the engine gets and sends it back: through protobuf."""
    return to_plain(PropertyValue.unmarshal(PropertyValue.marshal(to_wire(value))))


@given(values)
def test_every_value_comes_back_as_it_went(value: object) -> None:
    assert over_the_wire(value) == value


@given(st.dictionaries(texts.filter(lambda text: not text.startswith("__")), values, max_size=4))
def test_every_map_comes_back_as_it_went(value: dict[str, object]) -> None:
    sent = PropertyValue.marshal_map(to_wire_map(value))
    assert to_plain_map(PropertyValue.unmarshal_map(sent)) == value


@pytest.mark.parametrize("sentinel", sorted(SENTINELS))
def test_each_of_the_seven_sentinels_is_unknown(sentinel: str) -> None:
    assert to_plain(PropertyValue(sentinel)) is UNKNOWN
    assert has_unknown(to_plain(PropertyValue([PropertyValue({"a": PropertyValue(sentinel)})])))


def test_there_are_seven_sentinels_and_the_sdk_sends_one_of_them() -> None:
    assert len(SENTINELS) == 7
    assert rpc.UNKNOWN in SENTINELS


def test_an_unknown_goes_out_as_the_sdk_s_own_sentinel_since_computed_cannot_be_marshalled() -> None:
    assert PropertyValue.marshal(to_wire(UNKNOWN)).string_value == rpc.UNKNOWN
    with pytest.raises((ValueError, AttributeError, TypeError)):
        PropertyValue.marshal(PropertyValue.computed())


def test_a_computed_from_elsewhere_is_unknown() -> None:
    assert to_plain(PropertyValue.computed()) is UNKNOWN


def test_whole_numbers_go_as_float_and_come_back_as_int() -> None:
    assert isinstance(to_wire(5).value, float)
    back = over_the_wire({"port": 8000, "share": 0.25, "on": True})
    assert back == {"port": 8000, "share": 0.25, "on": True}
    assert isinstance(back, dict)
    assert {name: type(value) for name, value in back.items()} == {"port": int, "share": float, "on": bool}


def test_secretness_and_dependencies_do_not_change_a_value() -> None:
    plain = PropertyValue("s")
    assert to_plain(plain.with_secret(True)) == to_plain(plain.with_dependencies({"urn:x"})) == "s"


def test_the_engine_s_own_properties_are_left_out() -> None:
    assert to_plain_map({"__defaults": PropertyValue([]), "path": PropertyValue("/x")}) == {"path": "/x"}


@pytest.mark.parametrize("value", [b"bytes-are-sequences-of-ints-but-no-list", {1, 2}, object()])
def test_what_the_engine_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        to_wire(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(UNKNOWN, True), ([1, [UNKNOWN]], True), ({"a": {"b": UNKNOWN}}, True), ({"a": [1, None, "x"]}, False)],
)
def test_an_unknown_is_found_however_deep(value: object, *, expected: bool) -> None:
    assert has_unknown(value) is expected
