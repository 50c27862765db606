"""The JSON of a plan: its keys are a promise to programs, `docs/plan.md` names every one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from berth.catalogue.units import Bytes
from berth.planner.plan import GatewayPlan, KeyPlan, ModelRoute, RevisionShare
from berth.report.document import document, to_json, to_json_list
from tests.report import plans
from tests.report.golden import same_as_before

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "plan.md"


def with_gateway() -> dict[str, Any]:
    gateway = GatewayPlan(
        host="box", bind="0.0.0.0", port=8000, admin_port=9901, metrics_port=9902, open=False,
        keys=(KeyPlan(name="alice", secret="alice_key"),), max_body=Bytes(2**24), idle_timeout_s=60, hold_limit_s=30,
        models=(
            ModelRoute(
                name="qwen", aliases=("q",),
                revisions=(RevisionShare(revision="main", percent=100, replicas=("qwen-main-1",), max_concurrency=24),),
            ),
        ),
    )  # fmt: skip
    return document(replace(plans.three(), gateway=gateway))


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key != "arguments":  # the engines' own flags
                yield from keys(inner)
    if isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_json_looks_as_before() -> None:
    assert same_as_before("three.json", to_json(plans.three()) + "\n")


def test_sizes_are_whole_bytes() -> None:
    found = json.loads(to_json(plans.three()))
    card = found["hosts"][0]["cards"][0]
    assert card["free"] == card["total"] - sum(use["size"] for use in card["uses"])
    for replica in found["replicas"]:
        assert all(type(term["size"]) is int for term in replica["memory"]["terms"])
        assert replica["memory"]["used"] == sum(term["size"] for term in replica["memory"]["terms"])


def test_hostile_names_survive_the_way_through_json() -> None:
    found = json.loads(to_json(plans.hostile()))
    assert found["stack"] == plans.HOSTILE
    assert found["replicas"][0]["model"] == plans.HOSTILE


def test_only_names_of_secrets_are_said() -> None:
    found = with_gateway()
    assert found["gateway"]["keys"] == ["alice"]
    assert found["secrets"] == ["hf_token"]


def test_every_key_is_documented() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert [key for key in dict.fromkeys(keys(with_gateway())) if f"`{key}`" not in text] == []


def test_several_plans_are_a_list() -> None:
    found = json.loads(to_json_list([plans.three(), plans.too_much()]))
    assert [one["verdict"] for one in found] == ["fits", "does not fit"]
    assert [one["applicable"] for one in found] == [True, False]
