"""What KServe's controller for LLMInferenceServices makes of a model on several nodes, as far as groups of pods."""

from __future__ import annotations

from pathlib import Path

import pytest

from berth.kubernetes import objects
from berth.planner.planning import plan
from berth.spec import load
from tests.cluster.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

STACK = Path(__file__).parents[1] / "kubernetes" / "stacks" / "nodes.yaml"
_PLURALS = {
    "LLMInferenceService": "llminferenceservices",
    "LLMInferenceServiceConfig": "llminferenceserviceconfigs",
}


def test_a_model_on_several_nodes_becomes_a_group_of_pods(llm_cluster: Cluster, namespace: str) -> None:
    for one in objects(plan(load(STACK), "nodes"), "lab"):
        about = {**one["metadata"], "namespace": namespace}
        path = f"/apis/{one['apiVersion']}/namespaces/{namespace}/{_PLURALS[one['kind']]}"
        llm_cluster.create(path, {**one, "metadata": about})
    groups = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{namespace}/leaderworkersets"
    made = llm_cluster.until(lambda: llm_cluster.get(f"{groups}/large-kserve-mn"), "the group")
    template = made["spec"]["leaderWorkerTemplate"]
    assert (made["spec"]["replicas"], template["size"]) == (1, 2)
    (first,), (second,) = (template[part]["spec"]["containers"] for part in ("leaderTemplate", "workerTemplate"))
    assert first["command"] == second["command"] == ["vllm", "serve", "/mnt/models"]
    assert first["args"][-3:] == [
        "--nnodes=2",
        "--node-rank=$(LWS_WORKER_INDEX)",
        "--master-addr=$(LWS_LEADER_ADDRESS)",
    ]
    assert second["args"] == [*first["args"], "--headless"]
    assert "readinessProbe" in first
    assert "readinessProbe" not in second, "it answers nobody"
    assert {one["resources"]["limits"]["nvidia.com/gpu"] for one in (first, second)} == {"4"}
    labels = template["leaderTemplate"]["metadata"]["labels"]
    assert labels["kserve.io/component"] == "workload"
    assert labels["dev.berth/model"] == "large"
    for part in ("leaderTemplate", "workerTemplate"):
        (claim,) = (one for one in template[part]["spec"]["volumes"] if "persistentVolumeClaim" in one)
        assert claim["persistentVolumeClaim"]["claimName"] == "weights"
