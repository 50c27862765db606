"""A stack with an LLMInferenceService on a cluster with KServe's own controller for it; pods run no container."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from project import Project

from tests.cluster.cluster import Cluster
from tests.cluster.parts import plugin

pytestmark = [pytest.mark.pulumi, pytest.mark.cluster, pytest.mark.soak]

_KINDS = "llminferenceservices,leaderworkersets,deployments,services,pods,secrets,serviceaccounts"


@pytest.fixture
def said(project: Project, llm_cluster: Cluster, namespace: str) -> dict[str, Any]:
    """A stack file with one model, as an LLMInferenceService."""
    model = {
        "source": {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "aa8e72537993ba99e69dfaafa59ed015b17504d1"},
        "engine": {"name": "vllm", "version": "0.11.0"},
        "place": [{"cluster": "lab", "service": "llm"}],
        "context": 4096,
    }
    cluster = {"namespace": namespace, "kubeconfig": "lab_kubeconfig", "gpus": [{"model": "a40"}]}
    stack: dict[str, Any] = {"clusters": {"lab": cluster}, "models": {"qwen": model}}
    project.write("lab", stack)
    made = plugin()
    folder = Path(project.environment("lab")["PULUMI_HOME"]) / "plugins" / made.name
    folder.mkdir(parents=True)
    for file in made.iterdir():
        os.link(file, folder / file.name)
    project.init("lab")
    project.pulumi("lab", "config", "set", "--secret", "lab_kubeconfig", llm_cluster.kubeconfig.read_text()).ok()
    return stack


def _named(cluster: Cluster, namespace: str, kinds: str = _KINDS) -> set[str]:
    return set(cluster.kubectl("get", kinds, "--namespace", namespace, "--output", "name").stdout.split())


def test_an_llm_inference_service(project: Project, llm_cluster: Cluster, namespace: str, said: dict[str, Any]) -> None:
    before = _named(llm_cluster, namespace)
    project.up("lab").ok()
    service = f"/apis/serving.kserve.io/v1alpha2/namespaces/{namespace}/llminferenceservices/qwen"
    conditions = (llm_cluster.get(service) or {})["status"]["conditions"]
    found = {one["type"]: one["status"] for one in conditions}
    assert found["Ready"] == found["MainWorkloadReady"] == found["RouterReady"] == found["PresetsCombined"] == "True"
    (pod,) = (llm_cluster.get(f"/api/v1/namespaces/{namespace}/pods") or {})["items"]
    (main,) = pod["spec"]["containers"]
    assert main["image"] == "vllm/vllm-openai:v0.11.0", "of the cluster's presets none decides what runs"
    assert main["args"] == ["--port=8000", "--model=/mnt/models", "--served-model-name=qwen", "--max-model-len=4096"]
    (download,) = pod["spec"]["initContainers"]
    assert download["args"][0] == "hf://Qwen/Qwen2.5-3B-Instruct:aa8e72537993ba99e69dfaafa59ed015b17504d1"
    project.unchanged("lab").ok()

    said["models"]["qwen"]["context"] = 2048
    project.write("lab", said)
    project.up("lab").ok()
    (pod,) = (llm_cluster.get(f"/api/v1/namespaces/{namespace}/pods") or {})["items"]
    assert "--max-model-len=2048" in pod["spec"]["containers"][0]["args"]

    project.destroy("lab").ok()
    assert _named(llm_cluster, namespace) == before


def test_presets_that_are_not_there_are_named(project: Project, said: dict[str, Any]) -> None:
    said["models"]["qwen"]["place"][0]["overlay"] = {"baseRefs": [{"name": "own"}]}
    project.write("lab", said)
    done = project.pulumi("lab", "up", "--yes", "--skip-preview", timeout_s=180)
    assert done.status != 0
    assert "KServe cannot make it: Reconciliation failed" in done.output
    assert 'LLMInferenceServiceConfig "own"' in done.output
    project.destroy("lab").ok()
