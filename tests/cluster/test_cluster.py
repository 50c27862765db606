"""The test cluster itself: real KServe makes a service ready and refuses another, and stand-ins answer for pods."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
import requests

from berth.provider.kubernetes.api import Api
from berth.provider.kubernetes.look import look
from berth.provider.kubernetes.reason import reason
from tests.cluster.cluster import Cluster

pytestmark = pytest.mark.cluster

_SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"


def service(name: str, **model: object) -> dict[str, object]:
    """A service with a container of its own runtime, without weights."""
    container = {
        "name": "kserve-container",
        "image": "vllm/vllm-openai:v0.11.0",
        "args": ["--served-model-name=one"],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {key: {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"} for key in ("requests", "limits")},
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [container], **model}},
    }


def test_kserve_makes_a_service_ready_and_its_pod_answers_through_the_api(cluster: Cluster, namespace: str) -> None:
    services = _SERVICES.format(namespace)
    cluster.create(services, service("one"))

    def ready() -> bool:
        status = (cluster.get(f"{services}/one") or {}).get("status", {})
        return any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", ()))

    cluster.until(ready, "READY of the service")
    answer = f"/api/v1/namespaces/{namespace}/services/one-predictor:80/proxy/v1/models"

    def models() -> dict[str, Any] | None:
        with suppress(requests.HTTPError):  # the API server's, as long as nobody answers at the pod's address
            return cluster.get(answer)
        return None

    listed = cluster.until(models, "the model list")
    assert [model["id"] for model in listed["data"]] == ["one"]


def test_kserve_makes_nothing_of_knatives_mode_without_knative_and_says_so(cluster: Cluster, namespace: str) -> None:
    """Why `up` ends with the reason after seconds: nothing of the service's status tells it."""
    body = service("one")
    body["metadata"] = {"name": "one", "annotations": {"serving.kserve.io/deploymentMode": "Knative"}}
    cluster.create(_SERVICES.format(namespace), body)
    warnings = f"/api/v1/namespaces/{namespace}/events?fieldSelector=reason=ServerlessModeRejected"
    (event,) = cluster.until(lambda: (cluster.get(warnings) or {"items": []})["items"], "KServe's warning")
    assert (event["type"], event["involvedObject"]["kind"]) == ("Warning", "InferenceService")
    assert (cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments") or {})["items"] == []


def test_a_quota_that_is_used_up_is_named(cluster: Cluster, namespace: str) -> None:
    """By what Kubernetes' own controllers say of it."""
    hard = {"requests.nvidia.com/gpu": "0"}
    cluster.create(
        f"/api/v1/namespaces/{namespace}/resourcequotas", {"metadata": {"name": "cards"}, "spec": {"hard": hard}}
    )
    cluster.create(_SERVICES.format(namespace), service("one"))

    async def why() -> str:
        api = Api("test", cluster.kubeconfig.read_text(), None)
        about = {"kind": "InferenceService", "api_version": "serving.kserve.io/v1beta1"}
        stuck = reason(await look(api, namespace, "one", "", **about))
        await api.close()
        return stuck.why if stuck is not None else ""

    said = "quota cards of the namespace is used up: asked requests.nvidia.com/gpu=1, used requests.nvidia.com/gpu=0 of"
    cluster.until(lambda: asyncio.run(why()).startswith(said), "the quota's name")


def test_kserve_refuses_a_service_without_a_model(cluster: Cluster, namespace: str) -> None:
    body = service("none", containers=[])
    answer = cluster.send("POST", _SERVICES.format(namespace), body)
    assert answer.status_code in {400, 403}, answer.text


def test_what_kserve_does_by_itself_waits_for_ever_where_there_is_one_card(cluster: Cluster, namespace: str) -> None:
    """Why Berth says how pods are replaced: the new one comes first, and the card is the old one's."""
    cluster.node("single", gpus=1, labels={"berth.test/node": "single"})
    services = _SERVICES.format(namespace)
    there = {"nodeSelector": {"berth.test/node": "single"}}
    cluster.create(services, service("one", **there))
    (old,) = cluster.until(lambda: _pods(cluster, namespace, "Running"), "the first pod")
    changed = service("one", **there, annotations={"changed": "yes"})
    merge = {"Content-Type": "application/merge-patch+json"}
    assert cluster.send("PATCH", f"{services}/one", changed, **merge).ok
    (new,) = cluster.until(lambda: _pods(cluster, namespace, "Pending"), "the second pod")
    cluster.until(lambda: "Insufficient nvidia.com/gpu" in _placed(cluster, namespace, new), "the scheduler's word")
    assert _pods(cluster, namespace, "Running") == [old]


def _pods(cluster: Cluster, namespace: str, phase: str) -> list[str]:
    listed = cluster.get(f"/api/v1/namespaces/{namespace}/pods?fieldSelector=status.phase={phase}") or {"items": []}
    return [pod["metadata"]["name"] for pod in listed["items"]]


def _placed(cluster: Cluster, namespace: str, pod: str) -> str:
    status = (cluster.get(f"/api/v1/namespaces/{namespace}/pods/{pod}") or {}).get("status", {})
    return " ".join(item.get("message", "") for item in status.get("conditions", ()))
