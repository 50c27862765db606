"""Values on their way between the engine and the provider; each trap by a test of its name."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

from berth.provider.wire import SENTINELS, UNKNOWN, has_unknown, to_plain, to_plain_map, to_wire_map

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
    """As the engine gets and sends it back: as bytes."""
    return to_plain_map(Struct.FromString(to_wire_map({"it": value}).SerializeToString()))["it"]


@given(values)
def test_every_value_comes_back_as_it_went(value: object) -> None:
    assert over_the_wire(value) == value


@given(st.dictionaries(texts.filter(lambda text: not text.startswith("__")), values, max_size=4))
def test_every_map_comes_back_as_it_went(value: dict[str, object]) -> None:
    assert to_plain_map(to_wire_map(value)) == value


@given(values)
def test_the_sdk_reads_what_is_sent_and_sends_what_is_read(value: object) -> None:
    """It speaks the engine's protocol independently of this."""
    sent = to_wire_map({"it": value})
    assert PropertyValue.marshal_map(PropertyValue.unmarshal_map(sent)) == sent


@pytest.mark.parametrize("sentinel", sorted(SENTINELS))
def test_each_of_the_seven_sentinels_is_unknown(sentinel: str) -> None:
    sent = Struct()
    sent.update({"it": [{"a": sentinel}]})
    assert to_plain_map(sent) == {"it": [{"a": UNKNOWN}]}
    assert has_unknown(to_plain_map(sent))


def test_there_are_seven_sentinels_and_an_unknown_goes_out_as_the_sdk_s_own() -> None:
    assert len(SENTINELS) == 7
    assert rpc.UNKNOWN in SENTINELS
    assert to_wire_map({"it": UNKNOWN}).fields["it"].string_value == rpc.UNKNOWN


def test_whole_numbers_go_as_float_and_come_back_as_int() -> None:
    back = over_the_wire({"port": 8000, "share": 0.25, "on": True})
    assert back == {"port": 8000, "share": 0.25, "on": True}
    assert isinstance(back, dict)
    assert {name: type(value) for name, value in back.items()} == {"port": int, "share": float, "on": bool}


def test_a_secret_of_the_configuration_is_its_value() -> None:
    secret = PropertyValue({"a": PropertyValue("s").with_secret(True)}).with_secret(True)
    assert to_plain(secret.marshal()) == {"a": "s"}


@pytest.mark.parametrize("mark", [rpc._special_asset_sig, rpc._special_resource_sig, rpc._special_output_value_sig])
def test_what_the_provider_does_not_take_is_refused(mark: str) -> None:
    sent = Value()
    sent.struct_value.update({rpc._special_sig_key: mark, "value": "x"})
    with pytest.raises(TypeError, match="does not take"):
        to_plain(sent)


def test_the_engine_s_own_properties_are_left_out() -> None:
    assert to_plain_map(to_wire_map({"__defaults": [], "path": "/x"})) == {"path": "/x"}


@pytest.mark.parametrize("value", [b"bytes-are-sequences-of-ints-but-no-list", {1, 2}, object()])
def test_what_the_engine_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        to_wire_map({"it": [value]})


@pytest.mark.parametrize(
    ("value", "expected"),
    [(UNKNOWN, True), ([1, [UNKNOWN]], True), ({"a": {"b": UNKNOWN}}, True), ({"a": [1, None, "x"]}, False)],
)
def test_an_unknown_is_found_however_deep(value: object, *, expected: bool) -> None:
    assert has_unknown(value) is expected
