"""daemon.json as text and values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.catalogue.docker import daemon_defaults
from berth.provider.daemon_json import Unreadable, lacking, merged, parse, projected, rendered, without

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3), max_leaves=8)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_what_was_merged_is_there_and_nothing_else_has_changed(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    new = merged(found, wanted)
    assert projected(new, wanted) == wanted
    assert {key: value for key, value in new.items() if key not in wanted} == {
        key: value for key, value in found.items() if key not in wanted
    }
    assert merged(new, wanted) == new
    assert [key for key in new if key in found] == list(found), "the order of the file is kept"


@given(OBJECTS, OBJECTS)
def test_what_was_taken_away_is_gone_and_nothing_else_has_changed(
    found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    ours = projected(found, wanted)
    left = without(found, ours)
    assert {key: value for key, value in left.items() if key not in ours} == {
        key: value for key, value in found.items() if key not in ours
    }
    assert not any(_leaves(projected(left, ours)))


def _leaves(value: Any) -> list[Any]:
    """What is in a nested value beside mappings."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    return [value]


@pytest.mark.parametrize("text", ["", " \n", "\ufeff", "\ufeff{}\n"])
def test_a_blank_file_has_no_settings(text: str) -> None:
    assert parse(text) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{\n  "debug": true\n  "hosts": []\n}', "line 3 column 3: Expecting ',' delimiter"),
        ('{"debug": true,}', "line 1 column"),
        ("// no comments in JSON\n{}", "line 1 column 1: Expecting value"),
        ('{"a": NaN}', "NaN is no value of JSON"),
        ("[]", "is a list, must be an object in braces"),
        ("null", "is null, must be an object in braces"),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_what_docker_would_not_read_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(Unreadable, match="^" + problem.replace("[", r"\[")):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        '{\n  "a": {\n    "b": 1\n  },\n  "é": "한국어 <&>"\n}\n',
        '{\n    "a": [\n        1\n    ]\n}',
        '{\n\t"a": 1\n}\n',
        '{"a": {"b": 1}}\n',
        "{}",
    ],
    ids=["two", "four, unended", "tabs", "one line", "empty"],
)
def test_a_file_keeps_its_form(text: str) -> None:
    assert rendered(parse(text), text) == text


def test_a_new_file_is_laid_out_for_people() -> None:
    assert rendered({"debug": True}, None) == rendered({"debug": True}, "\n") == '{\n  "debug": true\n}\n'


def test_half_a_character_stays_an_escape() -> None:
    text = rendered(parse('{"a": "\\ud800"}'), "{}")
    assert json.loads(text.encode()) == {"a": "\ud800"}


LOGS = {"log-driver": "json-file", "log-opts": {"max-size": "100m", "max-file": "3"}}
LIMIT = {"Name": "nofile", "Soft": 65536, "Hard": 524288}
DEFAULTS = daemon_defaults()


def nofile(**parts: Any) -> dict[str, Any]:
    return {"default-ulimits": {"nofile": parts}}


@pytest.mark.parametrize(
    ("found", "said", "added"),
    [
        pytest.param({}, {}, DEFAULTS, id="a new file"),
        pytest.param(DEFAULTS, {}, {}, id="all is there"),
        pytest.param(
            {"log-driver": "syslog", "log-opts": {"syslog-address": "udp://logs:514"}},
            {},
            {"default-ulimits": {"nofile": LIMIT}},
            id="another driver with its options",
        ),
        pytest.param({"log-driver": "journald"}, {}, {"default-ulimits": {"nofile": LIMIT}}, id="another driver"),
        pytest.param(
            {"log-driver": "local"}, {}, {"log-opts": LOGS["log-opts"], **nofile(**LIMIT)}, id="another of files"
        ),
        pytest.param(
            {"log-opts": {"max-size": "1g"}}, {}, {"log-driver": "json-file", **nofile(**LIMIT)}, id="its own options"
        ),
        pytest.param(
            {},
            {"log-opts": {"max-size": "1g"}},
            {"log-driver": "json-file", "log-opts": {"max-file": "3"}, **nofile(**LIMIT)},
            id="options of the stack's",
        ),
        pytest.param({}, {"log-driver": "syslog"}, {**nofile(**LIMIT)}, id="a driver of the stack's"),
        pytest.param({}, {"log-opts": None}, {**LOGS, **nofile(**LIMIT)}, id="nonsense is Docker's to refuse"),
        pytest.param({**LOGS, **nofile(Name="nofile", Soft=1048576, Hard=1048576)}, {}, {}, id="a higher limit"),
        pytest.param({**LOGS, **nofile(Name="nofile", Soft=-1, Hard=-1)}, {}, {}, id="no limit"),
        pytest.param(
            {**LOGS, **nofile(Name="nofile", Soft=1024, Hard=1048576)}, {}, nofile(Soft=65536), id="a lower limit"
        ),
        pytest.param(
            {**LOGS, **nofile(Name="nofile", Soft=1024, Hard=4096)}, {}, nofile(Soft=65536, Hard=524288), id="both low"
        ),
        pytest.param(LOGS, nofile(Soft=16384, Hard=16384), nofile(Name="nofile"), id="a limit of the stack's"),
        pytest.param(LOGS, nofile(Hard=16384), nofile(Name="nofile", Soft=16384), id="its hard one alone"),
        pytest.param(LOGS, nofile(Soft=1048576), nofile(Name="nofile", Hard=1048576), id="its soft one alone"),
        pytest.param(
            {**LOGS, "default-ulimits": {"memlock": {"Name": "memlock", "Soft": -1, "Hard": -1}}},
            {},
            nofile(**LIMIT),
            id="another limit",
        ),
        pytest.param({**LOGS, "default-ulimits": "high"}, {}, {}, id="nonsense in the file"),
    ],
)
def test_defaults_hold_where_nothing_is_said(
    found: dict[str, Any], said: dict[str, Any], added: dict[str, Any]
) -> None:
    new = lacking(found, said, DEFAULTS)
    assert new == added
    if said.get("log-opts", {}) is not None:
        assert lacking(merged(found, merged(said, new)), said, DEFAULTS) == {}, (
            "the second time there is nothing to add"
        )
