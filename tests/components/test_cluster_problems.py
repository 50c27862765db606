"""What a cluster lacks for a stack, each said before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from berth.facts.cluster import ClusterFacts, Node, Quota, Taint
from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads
from components.cluster_problems import cluster_problems

_STACK = """
clusters:
  k:
    namespace: models
    gpus: [{model: a100-40}]
models:
  granite:
    source: {s3: "s3://bucket/granite", connection: storage, shape: ibm-granite/granite-7b-instruct}
    engine: {name: vllm, version: 0.11.0}
    place: [{cluster: k}]
    context: 4096
"""
_CARD = "nvidia.com/gpu"
_LLM = ("LLMInferenceService", "LLMInferenceServiceConfig")


def planned(**changes: Any) -> Plan:
    """The plan of a small stack; `place`, `model` and `cluster` change its parts."""
    said = yaml.safe_load(_STACK)
    said["models"]["granite"]["place"][0] |= changes.get("place", {})
    said["models"]["granite"] |= changes.get("model", {})
    said["clusters"]["k"] |= changes.get("cluster", {})
    decided = plan(loads(yaml.safe_dump(said)), "here")
    assert decided.refusals == ()
    return decided


def _node(name: str) -> Node:
    taint = Taint(key="nvidia.com/gpu", value="present", effect="NoSchedule")
    return Node(name=name, taints=(taint,), free={_CARD: 1})


def facts(**changes: Any) -> ClusterFacts:
    """A cluster that has all that the stack needs, but for the changes."""
    good: dict[str, Any] = {
        "version": "v1.36.3",
        "kinds": {"serving.kserve.io/v1beta1/InferenceService", "serving.kserve.io/v1alpha1/ServingRuntime"},
        "objects": {"Secret": {"storage": ""}},
        "nodes": (_node("n"),),
    }
    return ClusterFacts(**(good | changes))


def test_a_cluster_that_has_all_is_no_problem() -> None:
    assert cluster_problems(planned(), {"k": facts()}) == []


@pytest.mark.parametrize(
    ("changes", "found", "line"),
    [
        (
            {},
            {"kinds": {"serving.kserve.io/v1alpha1/ServingRuntime"}},
            "clusters.k: the cluster has no InferenceService (serving.kserve.io/v1beta1), must have it; install KServe",
        ),
        ({}, {"namespace": False}, "clusters.k.namespace: models is not on the cluster, must be; make it, or say"),
        (
            {},
            {"objects": {"Secret": {"storage": ""}, "InferenceService": {"granite": ""}}},
            "clusters.k: InferenceService granite in namespace models is there and not of this stack; remove it",
        ),
        (
            {},
            {"objects": {"Secret": {"storage": ""}, "InferenceService": {"granite": "other"}}},
            "clusters.k: InferenceService granite in namespace models is there and of stack other",
        ),
        (
            {},
            {"objects": {"Secret": {"storages": ""}}},
            "models.granite.source.connection: secret storage is not in namespace models, must be (did you mean",
        ),
        (
            {"place": {"runtime": "vllm"}},
            {"cluster_runtimes": ("vllm-cuda",)},
            "models.granite.place.runtime: vllm is no runtime of namespace models or the cluster, must be the resource",
        ),
        (
            {"place": {"replicas": 2}},
            {},
            "models.granite on k: 1 of 2 replicas find 1 nvidia.com/gpu on one node, 0 are left; park or remove",
        ),
        (
            {"cluster": {"mode": "knative"}},
            {},
            "clusters.k.mode: is knative, and the cluster has no Service (serving.knative.dev/v1), must have it",
        ),
        (
            {
                "cluster": {"gpus": [{"model": "a100-40", "per_node": 1}]},
                "place": {"service": "llm"},
                "model": {"parallel": {"pipeline": 2}, "engine": {"name": "vllm", "version": "0.12.0"}},
            },
            {"kinds": {f"serving.kserve.io/v1alpha2/{kind}" for kind in _LLM}, "nodes": (_node("a"), _node("b"))},
            "clusters.k: the cluster has no LeaderWorkerSet (leaderworkerset.x-k8s.io/v1), must have it for",
        ),
        (
            {
                "cluster": {"gpus": [{"model": "a100-40", "per_node": 1}]},
                "place": {"service": "llm"},
                "model": {"parallel": {"pipeline": 2}, "engine": {"name": "vllm", "version": "0.12.0"}},
            },
            {
                "kinds": {
                    *(f"serving.kserve.io/v1alpha2/{kind}" for kind in _LLM),
                    "leaderworkerset.x-k8s.io/v1/LeaderWorkerSet",
                }
            },
            "models.granite on k: 0 of 1 replicas find 1 nvidia.com/gpu on each of 2 nodes, 0 are left; park or remove",
        ),
        ({}, {"nodes": (Node(name="n"),)}, "models.granite on k: no node of the cluster has nvidia.com/gpu"),
        (
            {"cluster": {"tolerations": []}},
            {},
            "models.granite on k: nodes with nvidia.com/gpu (n) have other labels or taints; correct gpus.nodes",
        ),
        (
            {},
            {"quotas": (Quota(name="cards", resource=f"requests.{_CARD}", most=2, used=2),)},
            "clusters.k: quota cards of the namespace leaves 0 of 2 nvidia.com/gpu, 1 are wanted; raise it",
        ),
    ],
)
def test_each_problem_is_named(changes: dict[str, Any], found: dict[str, Any], line: str) -> None:
    (problem,) = cluster_problems(planned(**changes), {"k": facts(**found)})
    assert problem.startswith(line)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"objects": {"Secret": {"storage": ""}, "InferenceService": {"granite": "here"}}}),
        (
            {"cluster": {"adopt": True}},
            {"objects": {"Secret": {"storage": ""}, "InferenceService": {"granite": ""}}},
        ),
        ({"place": {"runtime": "vllm"}}, {"objects": {"Secret": {"storage": ""}, "ServingRuntime": {"vllm": ""}}}),
        ({}, {"nodes": None}),  # a login that may not read nodes
        ({}, {"nodes": (Node(name="n", free={_CARD: 0}),), "ours": {"n": {"granite": {_CARD: 1}}}}),
        (
            {},
            {
                "quotas": (Quota(name="cards", resource=f"requests.{_CARD}", most=1, used=1),),
                "ours": {"n": {"granite": {_CARD: 1}}},
            },
        ),
    ],
)
def test_what_is_its_own_or_unknown_is_no_problem(changes: dict[str, Any], found: dict[str, Any]) -> None:
    assert cluster_problems(planned(**changes), {"k": facts(**found)}) == []


def test_without_kserve_nothing_else_is_judged() -> None:
    empty = facts(kinds=(), objects={}, nodes=())
    assert len(cluster_problems(planned(), {"k": empty})) == 2  # of both kinds
