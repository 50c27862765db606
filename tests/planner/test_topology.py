"""What NCCL has to be told of the way between two cards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from berth.planner.plan import Note
from berth.planner.planning import plan
from berth.spec import loads
from tests.facts.fixtures import recorded

STACK = (Path(__file__).parents[2] / "stacks/a40x2-tp2.yaml").read_text()
SWITCHED = "environment: {NCCL_P2P_DISABLE: 1}"


def notes(links: Mapping[str, str], *, off: bool) -> list[Note]:
    facts = {"pod": recorded("a40x2-pod").model_copy(update={"links": links})}
    text = STACK if off else STACK.replace(SWITCHED, "environment: {}")
    assert (SWITCHED in text) is off
    return [note for note in plan(loads(text), "x", facts=facts).notes if "NCCL" in str(note)]


@pytest.mark.parametrize(
    ("links", "off", "severity", "words"),
    [
        pytest.param({"0-1": "NV4"}, True, "warning", "NVLink (NV4) joins the cards", id="off beside a bridge"),
        pytest.param({"0-1": "SYS"}, True, "note", "the link between two CPUs", id="off between two CPUs"),
        pytest.param({"0-1": "PHB"}, False, "note", "talk over a PCIe host bridge", id="on over PCIe"),
        pytest.param({}, False, "note", "over PCIe unless an NVLink bridge joins them", id="on, and not known"),
    ],
)
def test_what_is_said(links: Mapping[str, str], off: bool, severity: str, words: str) -> None:
    (note,) = notes(links, off=off)
    assert note.severity == severity
    assert words in note.text


@pytest.mark.parametrize(
    ("links", "off"),
    [
        pytest.param({"0-1": "NV4"}, False, id="NCCL finds the bridge by itself"),
        pytest.param({}, True, id="off, as the stack says, and not known"),
        pytest.param({"0-1": "??"}, True, id="a word of a driver to come"),
    ],
)
def test_where_nothing_is_to_be_said(links: Mapping[str, str], off: bool) -> None:
    assert notes(links, off=off) == []
