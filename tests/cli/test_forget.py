"""What forgetting a host takes out of a state: all that lies on it, and every mention of that."""

from __future__ import annotations

from typing import Any

from berth.forget import _of_host, _without

STACK = "urn:pulumi:s::p::pulumi:pulumi:Stack::p-s"
PROVIDER = "urn:pulumi:s::p::pulumi:providers:berth::berth"


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:s::p::{kind}::{name}"


def resource(kind: str, name: str, parent: str = STACK, **more: Any) -> dict[str, Any]:
    return {"urn": urn(kind, name), "parent": parent, **more}


def on(host: str) -> dict[str, Any]:
    return {"inputs": {"host": host}}


HOST, SERVER, PROOF = "berth:index:Host", "berth:index:InferenceServer", "berth:index:Proof"
OLD, REPLICA = urn(HOST, "old"), urn(f"{SERVER}$berth:serving:Replica", "a")
RESOURCES = [
    {"urn": STACK},
    {"urn": PROVIDER, "inputs": {"hosts": "{}"}},
    resource(HOST, "old"),
    resource(f"{HOST}$berth:host:Workspace", "old-workspace", OLD, **on("old")),
    resource(f"{HOST}$docker:index/volume:Volume", "old-volume", OLD),
    resource(HOST, "new"),
    resource(f"{HOST}$berth:host:Workspace", "new-workspace", urn(HOST, "new"), **on("new")),
    resource(SERVER, "a"),
    resource(f"{SERVER}$berth:serving:Replica", "a", urn(SERVER, "a"), **on("old")),
    resource(PROOF, "proof"),
    resource(f"{PROOF}$berth:serving:SmokeTest", "smoke", urn(PROOF, "proof"), **on("new"))
    | {"dependencies": [REPLICA, PROVIDER], "propertyDependencies": {"after": [REPLICA]}, "deletedWith": REPLICA},
    resource("random:index:Thing", "host", **on("old")),
]


def test_a_host_with_all_that_lies_on_it_and_components_that_are_left_empty() -> None:
    names = [urn.rpartition("::")[2] for urn in _of_host(RESOURCES, "old")]
    assert names == ["old", "old-workspace", "old-volume", "a", "a"]


def test_what_is_kept_says_nothing_of_what_is_gone() -> None:
    dropped = set(_of_host(RESOURCES, "old"))
    pending = [{"resource": {"urn": OLD}, "type": "creating"}, {"resource": {"urn": PROVIDER}, "type": "updating"}]
    state = _without({"resources": RESOURCES, "pending_operations": pending, "manifest": {"x": 1}}, dropped)
    assert not any(gone in str(state) for gone in dropped)
    assert len(state["resources"]) == len(RESOURCES) - len(dropped)
    smoke = next(one for one in state["resources"] if one["urn"].endswith("::smoke"))
    assert smoke["dependencies"] == [PROVIDER]
    assert "deletedWith" not in smoke
    assert state["manifest"] == {"x": 1}


def test_a_host_that_nothing_lies_on_takes_nothing() -> None:
    assert _of_host(RESOURCES, "other") == []
