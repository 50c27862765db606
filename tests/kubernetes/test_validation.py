"""What is wrong with objects is said before anything is sent: by KServe's definitions, and as its webhooks would."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.kubernetes import Object, objects, problems
from berth.kubernetes.shape import nearest_release, releases
from berth.planner.plan import ClusterPlan, Plan
from berth.planner.planning import plan
from berth.spec import load

STACKS = Path(__file__).parents[2] / "stacks"
MISTAKES = yaml.safe_load((Path(__file__).parent / "mistakes.yaml").read_text())


@pytest.fixture(scope="module")
def granite() -> Plan:
    return plan(load(STACKS / "openshift-ai.yaml"), "openshift-ai")


@pytest.fixture(scope="module")
def cluster(granite: Plan) -> ClusterPlan:
    return granite.clusters["ocp"]


def changed(one: Object, changes: Mapping[str, Any]) -> Object:
    """The object with other values at some paths; keys of annotations and resources may hold dots."""
    found = copy.deepcopy(one)
    for path, value in changes.items():
        part, rest = found, path
        while True:
            key = next((key for key in part if rest == key or rest.startswith(f"{key}.")), None)
            if key is None or rest == key:
                break
            part, rest = part[key], rest.removeprefix(f"{key}.")
        if value is None:
            del part[rest]
        else:
            part[rest] = value
    return found


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: str(case["change"])[:70])
def test_a_mistake_is_named_with_what_must_be(case: Mapping[str, Any], granite: Plan, cluster: ClusterPlan):
    made = [changed(one, case["change"].get(one["kind"], {})) for one in objects(granite, "ocp")]
    found = problems(made, cluster)
    assert len(found) == len(case["said"]), found
    for line, said in zip(found, case["said"], strict=True):
        assert line.startswith("models.granite-7b-instruct: ")
        assert said in line


def test_all_mistakes_are_said_in_one_run(granite: Plan, cluster: ClusterPlan):
    changes = {"spec.predictor.minReplicas": 3, "spec.predictor.model.name": "x", "spec.predictor.nodeSelctor": {}}
    made = [changed(one, changes) if one["kind"] == "InferenceService" else one for one in objects(granite, "ocp")]
    assert len(problems(made, cluster)) == 3


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.14", "clusters.ocp.version: is 0.14, must be 0.15 or newer; update KServe there"),
        ("0.15", None),
        ("1.0", None),
    ],
)
def test_a_release_that_is_too_old_is_refused(version: str, said: str | None, granite: Plan, cluster: ClusterPlan):
    found = problems(objects(granite, "ocp", version), cluster, version)
    assert found == (() if said is None else (said,))


def test_an_unknown_release_is_held_to_the_newest_before_it():
    assert nearest_release((0, 19)) == (0, 17)
    assert nearest_release((0, 99)) == releases()[-1]
    assert nearest_release((0, 1)) == releases()[0]
