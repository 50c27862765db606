"""What the provider sees of a real cluster: its facts, a service that comes to serve, and why another does not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from berth.provider.errors import ProviderError, StartFailed
from berth.provider.host import Host, Hosts, HostSettings
from berth.provider.kubernetes.connection import ClusterConnection
from berth.provider.kubernetes.facts import cluster_facts
from berth.provider.kubernetes.seen import SPECIFICATION
from berth.provider.operations.load_test import Asked, LoadTest, LoadTestWant
from berth.provider.operations.serving import Serving, ServingWant
from berth.provider.operations.smoke_test import SmokeTest, SmokeTestWant
from berth.provider.ways import Pods
from tests.cluster.cluster import Cluster

pytestmark = pytest.mark.cluster

CARD = "nvidia.com/gpu"
LABEL = "serving.kserve.io/inferenceservice"


@pytest.fixture
async def hosts(cluster: Cluster) -> AsyncIterator[Hosts]:
    said = {"cluster": {"kubeconfig": cluster.kubeconfig.read_text()}}
    made = Hosts({"k": HostSettings.model_validate({"connection": said})})
    yield made
    await made.close()


@pytest.fixture
async def host(hosts: Hosts) -> Host:
    return await hosts.writer("k", _LINES.append)


_LINES: list[str] = []


def service(name: str, mark: str, *, cards: int = 1, account: str | None = None) -> dict[str, Any]:
    """A service without weights, whose pods are marked."""
    room = {"cpu": "1", "memory": "1Gi", CARD: str(cards)}
    container = {
        "name": "kserve-container",
        "image": "vllm/vllm-openai:v0.11.0",
        "args": [f"--served-model-name={name}", f"--max-model-len={mark}"],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": room, "limits": room},
    }
    predictor = {
        "annotations": {SPECIFICATION: mark},
        "deploymentStrategy": {"type": "Recreate"},
        "minReplicas": 1,
        "maxReplicas": 1,
        "containers": [container],
        **({"serviceAccountName": account} if account else {}),
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": {"serving.kserve.io/autoscalerClass": "none"}},
        "spec": {"predictor": predictor},
    }


def path(namespace: str) -> str:
    return f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"


def want(namespace: str, name: str, mark: str, **said: Any) -> ServingWant:
    return ServingWant(host="k", namespace=namespace, service=name, specification=mark, models=(name,), **said)


async def test_waits_for_the_pods_of_the_new_declaration(cluster: Cluster, namespace: str, host: Host) -> None:
    """KServe says Ready all the time between the two; only pods of the second make it serve."""
    serving = Serving()
    assert await serving.observe(host, want(namespace, "m", "1")) is None
    cluster.create(path(namespace), service("m", "1"))
    first = want(namespace, "m", "1", timeout_s=120)
    assert await serving.converge(host, first, first) == first
    edit = {"spec": {"predictor": service("m", "2")["spec"]["predictor"]}}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert cluster.send("PATCH", f"{path(namespace)}/m", edit, **merge).ok
    second = want(namespace, "m", "2", timeout_s=120)
    assert await serving.converge(host, second, second) == second
    (pod,) = cluster.get(f"/api/v1/namespaces/{namespace}/pods")["items"]  # type: ignore[index] # there is a list
    assert "--max-model-len=2" in pod["spec"]["containers"][0]["args"]
    seen = await serving.observe(host, first)
    assert seen is not None
    assert seen.state == "not ready"  # what is served is not the first any more
    assert any(line.startswith("m: ") for line in _LINES)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"account": "nobody"}, "the service account nobody is not in the namespace; make it"),
        ({"cards": 64}, "no node has 64 nvidia.com/gpu left; stop another model, or add a node"),
    ],
)
async def test_says_within_a_minute_why_nothing_comes_up(
    asked: dict[str, Any], why: str, cluster: Cluster, namespace: str, host: Host
) -> None:
    cluster.create(path(namespace), service("m", "1", **asked))
    one = want(namespace, "m", "1")
    begin = time.monotonic()
    with pytest.raises(StartFailed, match=why):
        await Serving().converge(host, one, one)
    assert time.monotonic() - begin < 60


async def test_a_quota_is_seen_before_and_named_after(cluster: Cluster, namespace: str, host: Host) -> None:
    hard = {"metadata": {"name": "cards"}, "spec": {"hard": {f"requests.{CARD}": "1"}}}
    cluster.create(f"/api/v1/namespaces/{namespace}/resourcequotas", hard)
    cluster.until(lambda: "used" in _quota(cluster, namespace), "the quota")
    connection = host.connection
    assert isinstance(connection, ClusterConnection)
    (quota,) = (await cluster_facts(connection.api, namespace)).quotas
    assert (quota.name, quota.resource, quota.most, quota.used) == ("cards", f"requests.{CARD}", 1, 0)
    cluster.create(path(namespace), service("m", "1", cards=2))
    one = want(namespace, "m", "1")
    with pytest.raises(StartFailed, match="quota cards of the namespace is used up: asked requests"):
        await Serving().converge(host, one, one)


def _quota(cluster: Cluster, namespace: str) -> dict[str, Any]:
    listed = cluster.get(f"/api/v1/namespaces/{namespace}/resourcequotas") or {"items": [{}]}
    status: dict[str, Any] = listed["items"][0].get("status", {})
    return status


async def test_the_facts_of_a_cluster(cluster: Cluster, namespace: str, host: Host) -> None:
    labels = {"dev.berth/stack": "here"}
    made = {"metadata": {"name": "token", "labels": labels}, "stringData": {"HF_TOKEN": "very secret"}}
    cluster.create(f"/api/v1/namespaces/{namespace}/secrets", made)
    connection = host.connection
    assert isinstance(connection, ClusterConnection)
    facts = await cluster_facts(connection.api, namespace)
    assert facts.version == "v1.36.3"
    assert "serving.kserve.io/v1beta1/InferenceService" in facts.kinds
    assert facts.objects["Secret"] == {"token": "here"}
    assert "very secret" not in facts.model_dump_json()
    nodes = {node.name: node for node in facts.nodes or ()}
    assert [taint.key for taint in nodes["tainted"].taints] == [CARD]
    assert 0 <= nodes["free"].free[CARD] <= 4
    elsewhere = await cluster_facts(connection.api, "nowhere")
    assert not elsewhere.namespace


async def test_a_ready_pod_answers_prompts_through_the_api_server(cluster: Cluster, namespace: str, host: Host) -> None:
    made = service("m", "1")
    cluster.create(path(namespace), made)
    first = want(namespace, "m", "1", timeout_s=120)
    await Serving().converge(host, first, first)
    asked = Asked(n=6, c=3, prompt="Say", max_tokens=4)
    (smoke,) = (await SmokeTest().outputs(host, _smoke(namespace, "1")))["results"].values()
    assert (smoke["completion_tokens"], smoke["streamed_tokens"]) == (16, 16)
    load = LoadTestWant(host="k", port=8080, pods=_pods(namespace, "1"), models={"m": asked})
    (measured,) = (await LoadTest().outputs(host, load))["results"].values()
    assert measured["answered"] == 6
    with pytest.raises(
        ProviderError, match=f"{LABEL}=m in namespace {namespace} on k is ready, .* --selector {LABEL}=m` says why"
    ):
        await SmokeTest().outputs(host, _smoke(namespace, "2"))  # those of another declaration are not asked


async def test_a_pod_that_answers_no_prompt_is_named(cluster: Cluster, namespace: str, host: Host) -> None:
    made = service("m", "1")
    made["spec"]["predictor"]["containers"][0]["env"] = [{"name": "STANDIN_BROKEN", "value": "1"}]
    cluster.create(path(namespace), made)
    first = want(namespace, "m", "1", timeout_s=120)
    await Serving().converge(host, first, first)
    why = (
        r"smoke test of m in pod m-predictor-\S+: POST /v1/completions answered 500: .*EngineCore encountered an issue"
    )
    with pytest.raises(ProviderError, match=why):
        await SmokeTest().outputs(host, _smoke(namespace, "1"))


def _pods(namespace: str, mark: str) -> Pods:
    return Pods(namespace=namespace, labels={LABEL: "m"}, specification=mark)


def _smoke(namespace: str, mark: str) -> SmokeTestWant:
    return SmokeTestWant(host="k", port=8080, pods=_pods(namespace, mark), prompts={"m": ["Hello"]})
