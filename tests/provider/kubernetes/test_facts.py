"""What a look at a cluster makes of amounts as its API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from berth.facts.cluster import Quota
from berth.provider.kubernetes.api import Api
from berth.provider.kubernetes.facts import cluster_facts
from tests.provider.kubernetes.api_standin import answering

CARD, KVM = "nvidia.com/gpu", "devices.kubevirt.io/kvm"
NODE = {
    "metadata": {"name": "n"},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "allocatable": {"cpu": "7910m", "memory": "32Gi", CARD: "4", KVM: "1k"},
    },
}
HARD = {f"requests.{CARD}": "1500", "requests.memory": "64Gi", "pods": "1k"}


def pod(**requests: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "other"},
        "spec": {"nodeName": "n", "containers": [{"resources": {"requests": requests}}]},
    }


@pytest.mark.parametrize(
    ("requests", "free"),
    [
        ({CARD: "1", KVM: "1", "cpu": "100m"}, {CARD: 3, KVM: 999}),
        ({KVM: "1k"}, {CARD: 4, KVM: 0}),
    ],
)
async def test_thousands_of_a_device_are_counted(requests: dict[str, str], free: dict[str, int]) -> None:
    quota = {"metadata": {"name": "q"}, "status": {"hard": HARD, "used": {f"requests.{CARD}": "1k"}}}
    answers = {
        "/version": {"gitVersion": "v1.36.3"},
        "/api/v1/nodes": {"items": [NODE]},
        "/api/v1/pods": {"items": [pod(**requests)]},
        "/api/v1/namespaces/llm/resourcequotas": {"items": [quota]},
    }
    with answering(answers) as kubeconfig:
        api = Api("k", kubeconfig, None)
        found = await cluster_facts(api, "llm")
        await api.close()
    assert found.nodes is not None
    assert [node.free for node in found.nodes] == [free]
    assert found.quotas == (Quota(name="q", resource=f"requests.{CARD}", most=1500, used=1000),)


@pytest.mark.parametrize(
    "labels",
    [
        {"serving.kserve.io/inferenceservice": "qwen"},
        {"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": "qwen"},
    ],
)
async def test_cards_of_the_stacks_own_services_are_told_apart(labels: dict[str, str]) -> None:
    mine = pod(**{CARD: "2"})
    mine["metadata"] |= {"namespace": "llm", "labels": labels}
    answers = {
        "/version": {"gitVersion": "v1.36.3"},
        "/api/v1/nodes": {"items": [NODE]},
        "/api/v1/pods": {"items": [mine, pod(**{CARD: "1"})]},
    }
    with answering(answers) as kubeconfig:
        api = Api("k", kubeconfig, None)
        found = await cluster_facts(api, "llm")
        await api.close()
    assert found.ours == {"n": {"qwen": {CARD: 2}}}


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
async def test_whose_objects_are_is_seen_in_all_releases_of_kserve(version: str) -> None:
    kinds = ("LLMInferenceService", "LLMInferenceServiceConfig")
    held = {"items": [{"metadata": {"name": "m", "labels": {"dev.berth/stack": "other"}}}]}
    place = f"/apis/serving.kserve.io/{version}/namespaces/llm"
    answers = {"/version": {"gitVersion": "v1.36.3"}, **{f"{place}/{kind.lower()}s": held for kind in kinds}}
    with answering(answers) as kubeconfig:
        api = Api("k", kubeconfig, None)
        found = await cluster_facts(api, "llm")
        await api.close()
    assert [found.objects[kind] for kind in kinds] == [{"m": "other"}, {"m": "other"}]
