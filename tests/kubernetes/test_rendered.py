"""What stacks on clusters are rendered to, so that a change of the renderer shows where it reaches.

`BERTH_WRITE_GOLDEN=1 pytest tests/kubernetes/test_rendered.py` writes them anew; read the difference before committing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.kubernetes import objects, problems, secret_names, to_yaml
from berth.planner.planning import plan
from berth.spec import load, loads

HERE = Path(__file__).parent
STACKS = {
    "openshift-ai": HERE.parents[1] / "stacks" / "openshift-ai.yaml",
    "kserve": HERE / "stacks" / "kserve.yaml",
    "llm": HERE / "stacks" / "llm.yaml",
    "nodes": HERE / "stacks" / "nodes.yaml",
    "openshift-ai-gateway": HERE / "stacks" / "openshift-ai-gateway.yaml",
}


def short(value: Any) -> Any:
    """Without what the gateway's and the monitoring's own tests hold: their files, rules and digests."""
    if isinstance(value, dict) and value.get("kind") == "PrometheusRule":
        return {**value, "spec": {"groups": [group["name"] for group in value["spec"]["groups"]]}}
    if isinstance(value, dict):
        return {key: "…" if key == "dev.berth/fixed" else short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [short(inner) for inner in value]
    return "…" if isinstance(value, str) and len(value) > 200 else value


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_rendered_as_before(name: str):
    decided = plan(load(STACKS[name]), name)
    assert decided.refusals == ()
    (cluster,) = decided.clusters
    text = to_yaml([short(one) for one in objects(decided, cluster)])
    path = HERE / "golden" / f"{name}.yaml"
    if os.environ.get("BERTH_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


TOO_NEW = {
    ("kserve", "0.15"): ["models.llama: InferenceService llama spec.predictor.storageUris is no field of KServe 0.15"],
    ("llm", "0.15"): ["models.qwen: LLMInferenceService qwen kind is LLMInferenceService"],
    ("nodes", "0.15"): ["models.large: LLMInferenceService large kind is LLMInferenceService"],
}
"""What an older release cannot: several downloads for one model, and the newer form of a service."""


@pytest.mark.parametrize("version", ["0.15", "0.16", "0.17", "0.20"])
@pytest.mark.parametrize("name", STACKS)
def test_what_is_rendered_is_right_for_each_release(name: str, version: str):
    decided = plan(load(STACKS[name]), name)
    (cluster,) = decided.clusters.values()
    found = problems(objects(decided, cluster.name, version), cluster, version)
    known = TOO_NEW.get((name, version), [])
    assert len(found) == len(known)
    assert all(line.startswith(start) for line, start in zip(found, known, strict=True))


def test_the_example_of_the_documentation_can_be_applied():
    page = (HERE.parents[1] / "docs" / "kubernetes.md").read_text()
    decided = plan(loads(page.partition("```yaml\n")[2].partition("```")[0]), "example")
    assert decided.refusals == ()
    assert problems(objects(decided, "lab"), decided.clusters["lab"]) == ()


def test_thirty_models_are_rendered_and_checked_in_no_time():
    """Some 50 ms on a laptop: most of a preview is the cluster's to answer."""
    said = yaml.safe_load(STACKS["openshift-ai"].read_text())
    (model,) = said["models"].values()
    said["clusters"]["ocp"]["gpus"][0]["count"] = 30
    said["models"] = {f"m{number}": model for number in range(30)}
    decided = plan(loads(yaml.safe_dump(said)), "many")
    begun = time.process_time()
    found = objects(decided, "ocp")
    assert problems(found, decided.clusters["ocp"]) == ()
    assert len(found) == 60
    assert time.process_time() - begun < 5


def test_what_stands_before_a_gateway_ends_no_long_answer():
    said = yaml.safe_load(STACKS["kserve"].read_text())
    said["gateway"]["edge"] = {"kind": "gateway-api", "gateway": "edge/public", "host": "models.example.com"}
    decided = plan(loads(yaml.safe_dump(said)), "lab")
    (route,) = (one for one in objects(decided, "lab") if one["kind"] == "HTTPRoute")
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "0s", "backendRequest": "0s"}


def test_alerts_know_of_the_one_that_requests_wait_behind():
    decided = plan(load(STACKS["kserve"]), "kserve")
    (rules,) = (one for one in objects(decided, "lab") if one["kind"] == "PrometheusRule")
    alerts = {rule["alert"]: rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]}
    assert "(envoy_cluster_membership_healthy) == 1" in alerts["NoReplicaInRotation"]
    assert "EngineDown" in alerts


def test_a_limited_gateway_waits_for_no_secret_that_nobody_names():
    said = yaml.safe_load(STACKS["kserve"].read_text())
    said["gateway"]["keys"] = [{"name": "alice", "secret": "alice_key", "models": ["qwen"]}]
    decided = plan(loads(yaml.safe_dump(said)), "lab")
    assert {name for one in objects(decided, "lab") for name in secret_names(one)} == decided.secrets
