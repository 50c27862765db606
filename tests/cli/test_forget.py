"""What forgetting a host takes out of a state: all that lies on it, and every mention of that."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from berth import cli, forget
from berth.forget import Forgetting, _of_host, _without
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.pulumi import Pulumi

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
RESOURCES: list[dict[str, Any]] = [
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


class Moving:
    """Stands in for Pulumi where somebody else runs an update meanwhile, which cannot be timed with the real one."""

    stack = "s"

    def __init__(self, root: Path, *exports: str) -> None:
        self.project = SimpleNamespace(root=root)
        self.exports = list(exports)
        self.imported: list[str] = []

    def call(self, *words: str, text: str = "") -> str:
        if words == ("stack", "import"):
            self.imported.append(text)
            return ""
        return self.exports.pop(0)


def prepared(pulumi: Moving) -> Forgetting:
    return Forgetting(cast("Pulumi", cast("Any", pulumi)), "old", (OLD,), {"deployment": {}}, "before")


def test_a_state_that_an_update_changed_meanwhile_is_not_rolled_back(tmp_path: Path) -> None:
    pulumi = Moving(tmp_path, "after an update")
    with pytest.raises(LifecycleError, match="its state was changed meanwhile, must be the one that was shown"):
        prepared(pulumi).apply()
    assert pulumi.imported == []
    same = Moving(tmp_path, "before")
    prepared(same).apply()
    assert same.imported == [json.dumps({"deployment": {}})]


def test_without_a_terminal_nothing_is_forgotten_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi = Moving(tmp_path, "before")
    monkeypatch.setattr(forget, "forgetting", lambda *_: prepared(pulumi))
    asked = CliRunner().invoke(cli.app, ["forget", "old"])
    assert asked.exit_code == 1
    assert "say --yes" in asked.output
    assert pulumi.imported == []
    assert CliRunner().invoke(cli.app, ["forget", "old", "--yes"]).exit_code == 0
    assert len(pulumi.imported) == 1
