"""The same objects and mistakes before a real API server with KServe's webhooks: dry runs, of which nothing stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from berth.kubernetes import Object, filled, objects, secret_names
from berth.planner.planning import plan
from berth.spec import load
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import ControlPlane

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent
STACKS = {
    "openshift-ai": HERE.parents[1] / "stacks" / "openshift-ai.yaml",
    "kserve": HERE / "stacks" / "kserve.yaml",
}
LLM = (HERE / "stacks" / "llm.yaml", HERE / "stacks" / "nodes.yaml")
PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "InferenceService": "inferenceservices",
    "Ingress": "ingresses",
    "LLMInferenceService": "llminferenceservices",
    "LLMInferenceServiceConfig": "llminferenceserviceconfigs",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ServingRuntime": "servingruntimes",
}

REFUSED: Mapping[str, dict[str, Any]] = {
    "a name": {"model": {"name": "granite"}},
    "two places": {
        "model": {"storageUri": "hf://a/b"},
        "storageUris": [{"uri": "hf://a/b", "mountPath": "/mnt/models"}],
    },
    "more at least than at most": {"minReplicas": 3},
    "no such field": {"nodeSelctor": {}},
    "no such metric": {"scaleMetric": "gpu"},
}
"""Fields of the predictor that KServe's webhook or definition refuses; the same are in mistakes.yaml."""


def sent(cluster: ControlPlane, namespace: str, one: Object) -> requests.Response:
    """A dry run with the strictest look at fields."""
    group = one["apiVersion"]
    start = f"/apis/{group}" if "/" in group else f"/api/{group}"
    about = {**one["metadata"], "namespace": namespace}
    body = filled({**one, "metadata": about}, dict.fromkeys(secret_names(one), "value"))
    path = f"{start}/namespaces/{namespace}/{PLURALS[one['kind']]}?dryRun=All&fieldValidation=Strict"
    return cluster.send("POST", path, body)


@pytest.mark.parametrize("name", STACKS)
def test_what_is_rendered_is_taken(name: str, cluster: Cluster, namespace: str):
    decided = plan(load(STACKS[name]), name)
    (place,) = decided.clusters
    for one in objects(decided, place):
        if one["kind"] in PLURALS:  # namespaces aside, the others belong to operators that are not there
            answer = sent(cluster, namespace, one)
            assert answer.ok, f"{one['kind']} {one['metadata']['name']}: {answer.text}"


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_said_to_be_refused_is(case: str, cluster: Cluster, namespace: str):
    decided = plan(load(STACKS["openshift-ai"]), "openshift-ai")
    (one,) = (one for one in objects(decided, "ocp") if one["kind"] == "InferenceService")
    predictor = one["spec"]["predictor"]
    model = {**predictor["model"], **REFUSED[case].get("model", {})}
    wrong = {**one, "spec": {"predictor": {**predictor, **REFUSED[case], "model": model}}}
    answer = sent(cluster, namespace, wrong)
    assert answer.status_code in {400, 403, 422}, yaml.safe_dump(wrong)


def test_an_empty_name_of_a_model_is_taken(cluster: Cluster, namespace: str):
    """As OpenShift AI's documentation has it; any other is refused."""
    decided = plan(load(STACKS["openshift-ai"]), "openshift-ai")
    (one,) = (one for one in objects(decided, "ocp") if one["kind"] == "InferenceService")
    predictor = one["spec"]["predictor"]
    said = {**one, "spec": {"predictor": {**predictor, "model": {**predictor["model"], "name": ""}}}}
    assert sent(cluster, namespace, said).ok


@pytest.mark.parametrize(
    "version",
    [pytest.param("0.16.0", marks=pytest.mark.soak), "0.17.0", pytest.param("0.20.0", marks=pytest.mark.soak)],
)
def test_the_definitions_of_other_releases_take_what_is_rendered_for_them(version: str, control_plane: ControlPlane):
    """Their rules in CEL too, which only an API server knows."""
    llm = ("llminferenceservices", "llminferenceserviceconfigs")
    control_plane.crds(version, ("inferenceservices", "servingruntimes", *llm))
    for stack in (*STACKS.values(), *LLM):
        decided = plan(load(stack), stack.stem)
        (place,) = decided.clusters
        for one in objects(decided, place, version):
            if one["apiVersion"].startswith("serving.kserve.io/"):
                answer = sent(control_plane, "default", one)
                assert answer.ok, f"{one['kind']} {one['metadata']['name']}: {answer.text}"


def test_defaults_leave_what_is_rendered_as_it_is(cluster: Cluster, namespace: str):
    """What KServe's webhook would change of our own fields would be a change in every preview."""
    for name in ("openshift-ai", "kserve"):
        decided = plan(load(STACKS[name]), name)
        (place,) = decided.clusters
        for one in objects(decided, place):
            if one["kind"] in {"InferenceService", "ServingRuntime"}:
                assert _within(one["spec"], sent(cluster, namespace, one).json()["spec"]) == []


def _within(ours: Any, theirs: Any, path: str = "spec") -> list[str]:
    """The paths of our values that came back otherwise."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [line for key, value in ours.items() for line in _within(value, theirs.get(key), f"{path}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [line for number, (one, other) in pairs for line in _within(one, other, f"{path}[{number}]")]
    return [] if ours == theirs else [f"{path}: {ours!r} came back as {theirs!r}"]
