"""A service that was made by hand becomes a stack's: changed once, never deleted, and serving all the time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from project import Project

from tests.cluster.cluster import Cluster
from tests.cluster.parts import plugin

pytestmark = [pytest.mark.pulumi, pytest.mark.cluster]

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"
CARD = {"nvidia.com/gpu": "1"}
BY_HAND = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: qwen
  annotations: {serving.kserve.io/deploymentMode: Standard, serving.kserve.io/autoscalerClass: none, mine: "yes"}
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 1
    timeout: 77
    containers:
    - name: kserve-container
      image: vllm/vllm-openai:v0.11.0
      args: [--served-model-name=qwen, --max-model-len=2048]
      ports: [{containerPort: 8080, protocol: TCP}]
      resources: {requests: {cpu: "1", nvidia.com/gpu: "1"}, limits: {cpu: "1", nvidia.com/gpu: "1"}}
"""


@pytest.fixture
def stack(project: Project, cluster: Cluster, namespace: str) -> str:
    project.write(
        "lab",
        {
            "clusters": {
                "lab": {
                    "namespace": namespace,
                    "kubeconfig": "lab_kubeconfig",
                    "gpus": [{"model": "a40", "count": 4}],  # one is spare, so that the new pod comes first
                    "adopt": True,
                }
            },
            "models": {
                "qwen": {
                    "source": {
                        "hub": "Qwen/Qwen2.5-3B-Instruct",
                        "revision": "aa8e72537993ba99e69dfaafa59ed015b17504d1",
                    },
                    "engine": {"name": "vllm", "version": "0.11.0"},
                    "context": 4096,
                    "place": [{"cluster": "lab"}],
                }
            },
        },
    )
    made = plugin()
    folder = Path(project.environment("lab")["PULUMI_HOME"]) / "plugins" / made.name
    folder.mkdir(parents=True)
    for file in made.iterdir():
        os.link(file, folder / file.name)
    project.init("lab")
    project.pulumi("lab", "config", "set", "--secret", "lab_kubeconfig", cluster.kubeconfig.read_text()).ok()
    return "lab"


def test_a_service_made_by_hand_is_taken_over(project: Project, cluster: Cluster, namespace: str, stack: str) -> None:
    done = cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=BY_HAND)
    assert done.returncode == 0, done.stderr
    cluster.until(lambda: _ready(cluster, namespace), "the service made by hand")
    before = _service(cluster, namespace)

    preview = project.pulumi(stack, "preview").ok().output
    assert f"InferenceService qwen in namespace {namespace} is taken over and changed:" in preview
    for line in (
        "spec.predictor.containers is [",  # what is not declared goes
        "spec.predictor.timeout is 77, and goes",
        "spec.predictor.model will be {",
    ):
        assert line in preview, preview
    assert _service(cluster, namespace)["metadata"]["generation"] == before["metadata"]["generation"]

    with _pods_that_answer(cluster, namespace) as least:
        project.up(stack).ok()
    assert min(least) >= 1, "a pod was there all the time"
    after = _service(cluster, namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "containers" not in after["spec"]["predictor"]
    assert "timeout" not in after["spec"]["predictor"]
    assert "mine" not in after["metadata"]["annotations"]
    assert "--max-model-len=4096" in after["spec"]["predictor"]["model"]["args"]
    project.unchanged(stack).ok()
    project.destroy(stack).ok()


def _service(cluster: Cluster, namespace: str) -> dict[str, Any]:
    found = cluster.get(f"{SERVICES.format(namespace)}/qwen")
    assert found is not None
    return found


def _ready(cluster: Cluster, namespace: str) -> bool:
    conditions = _service(cluster, namespace).get("status", {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


@contextmanager
def _pods_that_answer(cluster: Cluster, namespace: str) -> Iterator[list[int]]:
    """How many pods of the service were ready at each look, as long as the block lasts."""
    over, counts = threading.Event(), list[int]()
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=serving.kserve.io/inferenceservice=qwen"

    def look() -> None:
        while not over.wait(0.2):
            pods = (cluster.get(path) or {"items": []})["items"]
            conditions = [one for pod in pods for one in pod["status"].get("conditions", ()) if one["type"] == "Ready"]
            counts.append(sum(one["status"] == "True" for one in conditions))

    follower = threading.Thread(target=look)
    follower.start()
    try:
        yield counts
    finally:
        over.set()
        follower.join()
