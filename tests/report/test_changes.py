"""Two plans of a stack as a diff."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.planner.plan import Plan, PvcWeights, ReplicaPlan
from berth.planner.plan.adopted import AdoptedPlan
from berth.report.changes import changes
from tests.report import plans


def with_first(plan: Plan, replica: ReplicaPlan) -> Plan:
    return replace(plan, replicas=(replica, *plan.replicas[1:]))


def test_the_same_plan_changes_nothing() -> None:
    assert changes(plans.three(), plans.three()) == []


def test_a_changed_argument_is_named_with_the_way_it_takes_effect() -> None:
    before = plans.three()
    first = before.replicas[0]
    after = with_first(before, replace(first, arguments={**first.arguments, "max-model-len": 4096}))
    assert changes(before, after) == [
        "  tinyllama-main-0: requests wait while it is replaced",
        "-   --max-model-len 2048",
        "+   --max-model-len 4096",
    ]


@pytest.mark.parametrize(("path", "line"), [("qwen", "volume claim models/qwen"), ("", "volume claim models")])
def test_weights_of_a_volume_claim_are_named(path: str, line: str) -> None:
    before = plans.three()
    after = with_first(before, replace(before.replicas[0], weights=PvcWeights(claim="models", path=path)))
    assert changes(before, after)[-1] == f"+   weights {line}"


def test_what_comes_and_what_goes_is_whole() -> None:
    before = plans.three()
    after = replace(before, replicas=before.replicas[1:])
    lines = changes(before, after)
    assert lines[0] == "- tinyllama-main-0"
    assert all(line.startswith("-   ") for line in lines[1:])
    assert [line.replace("-", "+", 1) for line in lines] == changes(after, before)


def test_an_adopted_engine_is_not_said_to_be_replaced() -> None:
    before = plans.three()
    adopted = AdoptedPlan(container="tiny", take=False, says={})
    after = with_first(before, replace(before.replicas[0], adopted=adopted))
    assert changes(before, after) == ["  tinyllama-main-0", "+   adopted as it runs: tiny"]


def test_hostile_names_stay_on_their_line() -> None:
    for line in changes(plans.without_gpu(), plans.hostile()):
        assert line.isprintable()
