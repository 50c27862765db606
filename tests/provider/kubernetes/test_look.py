"""A service on several nodes is looked at through the group that LeaderWorkerSet makes, which is nowhere here."""

from __future__ import annotations

from typing import Any

import pytest

from berth.provider.kubernetes.api import Api
from berth.provider.kubernetes.look import look
from tests.provider.kubernetes.api_standin import answering

NEW = "abc"
SERVICE = {"kind": "LLMInferenceService", "metadata": {"generation": 1}, "status": {"observedGeneration": 1}}
"""KServe's controller for these has looked at the service itself, not at what it makes of it."""
LLM = {"kind": "LLMInferenceService", "api_version": "serving.kserve.io/v1alpha2"}


def leader(name: str, mark: str = NEW, **about: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": {"dev.berth/specification": mark}, **about}, "spec": {}}


def group(mark: str, ready: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "large-kserve-mn", "generation": 3},
        "spec": {
            "replicas": 2,
            "leaderWorkerTemplate": {
                "size": 2,
                "leaderTemplate": {"metadata": {"annotations": {"dev.berth/specification": mark}}, "spec": {}},
            },
        },
        "status": {"readyReplicas": ready},
    }


@pytest.mark.parametrize(
    ("made", "ready", "pods", "done"),
    [
        (NEW, 2, [leader("a"), leader("b")], True),
        (NEW, 1, [leader("a"), leader("b")], False),
        (NEW, 2, [leader("a"), leader("b", mark="old")], False),
        (NEW, 2, [leader("a"), leader("b"), leader("c", deletionTimestamp="2026-01-01T00:00:00Z")], True),
        ("old", 2, [leader("a"), leader("b")], False),
    ],
)
async def test_groups_are_rolled_out_when_all_their_leaders_are(
    made: str, ready: int, pods: list[dict[str, Any]], done: bool
) -> None:
    answers = {
        "/apis/serving.kserve.io/v1alpha2/namespaces/llm/llminferenceservices/large": SERVICE,
        "/apis/leaderworkerset.x-k8s.io/v1/namespaces/llm/leaderworkersets": {"items": [group(made, ready)]},
        "/api/v1/namespaces/llm/pods": {"items": pods},
    }
    with answering(answers) as kubeconfig:
        api = Api("k", kubeconfig, None)
        seen = await look(api, "llm", "large", NEW, **LLM)
        await api.close()
    assert seen.rolled_out() is done
    assert seen.judged()
