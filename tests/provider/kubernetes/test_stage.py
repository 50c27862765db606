"""What a start is doing, in one line."""

from __future__ import annotations

from typing import Any

import pytest

from berth.provider.kubernetes.stage import stage
from tests.provider.kubernetes.services import seen

_RUNS = {"containers": [{"name": "kserve-container", "image": "v", "ready": True}], "ready": True}
_LOADS = {"containers": [{"name": "kserve-container", "image": "v"}]}
_DOWNLOADS = {
    "init": [{"name": "storage-initializer", "image": "s"}],
    "containers": [{"name": "kserve-container", "image": "v", "waiting": {"reason": "PodInitializing"}}],
}
_PULLS = {"containers": [{"name": "kserve-container", "image": "v", "waiting": {"reason": "ContainerCreating"}}]}


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"unmade": True}, "waiting for KServe to take the new specification"),
        ({}, "waiting for its pods to be made"),
        ({"pods": [{"earlier": True}]}, "waiting for 1 earlier pods to end"),
        ({"pods": [{"unscheduled": "0/1 nodes are available"}]}, "waiting for a node"),
        ({"pods": [_PULLS]}, "pulling its image"),
        ({"pods": [_DOWNLOADS]}, "downloading"),
        ({"pods": [_LOADS]}, "loading the model"),
        ({"pods": [_RUNS, _LOADS], "replicas": 2}, "loading the model, 1 of 2 pods are ready"),
        ({"pods": [_RUNS, {"earlier": True}]}, "running, 1 earlier ones end"),
    ],
)
def test_says_what_the_slowest_pod_does(said: dict[str, Any], line: str) -> None:
    assert stage(seen(said)) == line


@pytest.mark.parametrize(
    ("deployment", "done"),
    [
        ({"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}, True),
        ({"updatedReplicas": 1, "replicas": 2, "availableReplicas": 2}, False),  # an earlier pod serves too
        ({"updatedReplicas": 0, "replicas": 1, "availableReplicas": 1}, False),  # only an earlier pod serves
        ({"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}, False),
    ],
)
def test_only_the_wanted_pods_make_a_rollout(deployment: dict[str, int], *, done: bool) -> None:
    assert seen({"deployment": deployment}).rolled_out() is done


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({"observedGeneration": 2}, True),
        ({"observedGeneration": 1}, False),  # ready as it was before
        ({"observedGeneration": 3}, False),
        ({}, True),  # of a KServe that does not say it
    ],
)
def test_conditions_are_those_of_the_workload_as_it_is_now(status: dict[str, Any], *, done: bool) -> None:
    assert seen({"status": status}).judged() is done


_DONE = {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    "said",
    [
        {"mode": "Knative"},
        {"mode": "Serverless"},
        {"mode": "", "status": {"observedGeneration": 9, "deploymentMode": "Serverless"}},
    ],
)
def test_with_knative_a_rollout_has_to_do(said: dict[str, Any]) -> None:
    """The generation is then of an object that nobody looks at."""
    whole = {"status": {"observedGeneration": 9}, **said}
    assert seen({**whole, "deployment": _DONE}).judged()
    assert not seen({**whole, "deployment": {**_DONE, "updatedReplicas": 0}}).judged()
