"""A gateway on a cluster whose login may not do what the wait needs: no time helps then."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from berth.provider.asking import Client, Unsatisfied
from berth.provider.host import Host, Hosts, HostSettings
from berth.provider.kubernetes.api import Refused
from berth.provider.operations.gateway_ready import GatewayReady, GatewayReadyWant
from berth.provider.ways import Pods, ways
from tests.provider.kubernetes.api_standin import answering

PODS = "/api/v1/namespaces/llm/pods"
ONE = {"metadata": {"name": "g-1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
DENIED = {"kind": "Status", "code": 403, "message": 'pods is forbidden: User "ci"'}
WANT = GatewayReadyWant(
    host="k", port=8000, pods=Pods(namespace="llm", labels={"a": "b"}), configuration="c", key="sk-very", timeout_s=20
)


@asynccontextmanager
async def login(answers: Mapping[str, Any]) -> AsyncIterator[Host]:
    """A cluster that answers so."""
    with answering(answers) as kubeconfig:
        hosts = Hosts({"k": HostSettings.model_validate({"connection": {"cluster": {"kubeconfig": kubeconfig}}})})
        try:
            yield await hosts.writer("k", print)
        finally:
            await hosts.close()


NOT_THROUGH = {PODS: {"items": [ONE]}, f"{PODS}/g-1:8000/proxy/v1/models": DENIED}


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({PODS: DENIED}, "reading /api/v1/namespaces/llm/pods: they may not: pods is forbidden"),
        (NOT_THROUGH, r"through to g-1 \(pods is forbidden.*\); give the login `get` and `create` on pods/proxy"),
    ],
)
async def test_what_a_login_may_not_is_said_at_once(answers: Mapping[str, Any], why: str) -> None:
    async with login(answers) as host:
        with pytest.raises(Refused, match=why):
            await GatewayReady().converge(host, WANT, WANT)
        looked = await GatewayReady().observe(host, WANT)  # a preview's login may only read
    assert looked is not None
    assert looked.state == "not ready"


async def test_a_proof_says_what_the_login_lacks() -> None:
    async with login(NOT_THROUGH) as host, ways(host, 8000, WANT.pods) as (way,):
        with pytest.raises(Unsatisfied, match="give the login `get` and `create` on pods/proxy"):
            Client(way, "", 5).prove("m", ["Hello"])


async def test_a_403_of_the_gateway_is_its_own() -> None:
    """Its keys are judged by Envoy, whose answer is no object of Kubernetes."""
    own = {**NOT_THROUGH, f"{PODS}/g-1:8000/proxy/v1/models": {**DENIED, "kind": "error"}}
    async with login(own) as host, ways(host, 8000, WANT.pods) as (way,):
        with pytest.raises(Unsatisfied) as caught:
            Client(way, "", 5).prove("m", ["Hello"])
    assert "answered 403" in str(caught.value)
    assert "pods/proxy" not in str(caught.value)


def test_no_key_is_shown() -> None:
    assert "sk-very" not in repr(WANT)
    assert "sk-very" in json.dumps(WANT.plain())
