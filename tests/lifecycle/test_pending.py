"""What is said of operations that a killed run left, and that a state without any is not written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from berth.lifecycle import pending

FORGOT = "stack dev: forgot that a killed run was"


def _urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::llm-serving::{kind}::{name}"


@dataclass
class _State:
    """Stands where the CLI is: a state that is exported and imported as text."""

    deployment: dict[str, Any] | None
    stack: str = "dev"
    written: list[dict[str, Any]] = field(default_factory=list)

    def call(self, *arguments: str, text: str | None = None) -> str:
        if arguments == ("stack", "export"):
            return json.dumps({"version": 3, "deployment": self.deployment})
        assert arguments == ("stack", "import")
        assert text is not None
        self.written.append(json.loads(text))
        return ""


@pytest.mark.parametrize(
    ("kind", "what", "line"),
    [
        (
            "berth:index:InferenceServer$berth:serving:Replica",
            "creating",
            f"{FORGOT} creating tiny (berth:serving:Replica); what it made is taken over",
        ),
        (
            "docker:index/container:Container",
            "creating",
            f"{FORGOT} creating tiny (docker:index/container:Container); look whether it left one behind",
        ),
        (
            "berth:host:File",
            "updating",
            f"{FORGOT} updating tiny (berth:host:File)",
        ),
    ],
)
def test_names_what_was_forgotten_and_keeps_the_rest(kind: str, what: str, line: str) -> None:
    resources = [{"urn": _urn("pulumi:pulumi:Stack", "llm-serving-dev"), "type": "pulumi:pulumi:Stack"}]
    operation = {"type": what, "resource": {"urn": _urn(kind, "tiny"), "type": kind.rpartition("$")[2]}}
    state = _State({"resources": resources, "secrets_providers": {"a": 1.5}, "pending_operations": [operation]})
    left = pending.clear(state)  # type: ignore[arg-type]  # what it uses of the CLI
    assert left == pending.Left(lines=[line], empty=False)
    assert state.written == [{"version": 3, "deployment": {"resources": resources, "secrets_providers": {"a": 1.5}}}]


@pytest.mark.parametrize(
    ("deployment", "empty"),
    [({"resources": [{"urn": "x"}]}, False), ({"resources": []}, True), ({}, True), (None, True)],
)
def test_a_state_without_any_is_not_written(deployment: dict[str, Any] | None, *, empty: bool) -> None:
    state = _State(deployment)
    assert pending.clear(state) == pending.Left(lines=[], empty=empty)  # type: ignore[arg-type]  # as above
    assert not state.written
