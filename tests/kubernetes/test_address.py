"""Where clients reach a gateway on a cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from berth.kubernetes.edge import About, address
from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads


def planned(gateway: dict[str, Any], **cluster: Any) -> Plan:
    said = {"clusters": {"lab": {"namespace": "llm", **cluster}}, "models": {}, "gateway": {"host": "lab", **gateway}}
    said["models"] = {"one": {"source": {"oci": "a/b:1"}, "engine": {"name": "vllm"}, "place": [{"cluster": "lab"}]}}
    return plan(loads(yaml.safe_dump(said)), "My stack")


@pytest.mark.parametrize(
    ("gateway", "given", "url"),
    [
        ({}, None, ""),
        ({"url": "https://llm.example.com/"}, None, "https://llm.example.com/v1"),
        ({"edge": {"host": "a.example.com"}}, None, "http://a.example.com/v1"),
        ({"edge": {"host": "a.example.com", "tls_secret": "its"}}, None, "https://a.example.com/v1"),
        ({"edge": {"kind": "route"}}, None, ""),
        ({"edge": {"kind": "route"}}, "given.apps.example.com", "https://given.apps.example.com/v1"),
        ({"edge": {"kind": "gateway-api", "gateway": "a/b"}}, None, ""),
        (
            {"edge": {"kind": "gateway-api", "gateway": "a/b", "host": "b.example.com"}},
            None,
            "https://b.example.com/v1",
        ),
    ],
)
def test_the_address_is_what_stands_in_front(gateway: dict[str, Any], given: str | None, url: str):
    door = planned(gateway).gateway
    assert door is not None
    assert address(door, given) == url


def test_a_person_reaches_it_in_the_context_of_the_stack_file():
    decided = planned({}, context="lab admin")
    door = decided.gateway
    assert door is not None
    about = About(decided, decided.clusters["lab"])
    assert about.inside(door) == "http://my-stack-gateway.llm.svc:8000/v1"
    line = "kubectl --context 'lab admin' port-forward --namespace llm service/my-stack-gateway 8000:8000"
    assert about.forwarding(door) == line
