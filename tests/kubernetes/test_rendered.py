"""What stacks on clusters are rendered to, so that a change of the renderer shows where it reaches.

`BERTH_WRITE_GOLDEN=1 pytest tests/kubernetes/test_rendered.py` writes them anew; read the difference before committing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from berth.kubernetes import objects, problems, to_yaml
from berth.planner.planning import plan
from berth.spec import load, loads

HERE = Path(__file__).parent
STACKS = {
    "openshift-ai": HERE.parents[1] / "stacks" / "openshift-ai.yaml",
    "kserve": HERE / "stacks" / "kserve.yaml",
    "llm": HERE / "stacks" / "llm.yaml",
    "openshift-ai-gateway": HERE / "stacks" / "openshift-ai-gateway.yaml",
}


def short(value: Any) -> Any:
    """Without what the gateway's and the monitoring's own tests hold: their files, rules and digests."""
    if isinstance(value, dict) and value.get("kind") == "PrometheusRule":
        return {**value, "spec": {"groups": [group["name"] for group in value["spec"]["groups"]]}}
    if isinstance(value, dict):
        return {key: "…" if key == "dev.berth/fixed" else short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [short(inner) for inner in value]
    return "…" if isinstance(value, str) and len(value) > 200 else value


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_rendered_as_before(name: str):
    decided = plan(load(STACKS[name]), name)
    assert decided.refusals == ()
    (cluster,) = decided.clusters
    text = to_yaml([short(one) for one in objects(decided, cluster)])
    path = HERE / "golden" / f"{name}.yaml"
    if os.environ.get("BERTH_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


TOO_NEW = {
    ("kserve", "0.15"): ["models.llama: InferenceService llama spec.predictor.storageUris is no field of KServe 0.15"],
    ("llm", "0.15"): ["models.qwen: LLMInferenceService qwen kind is LLMInferenceService"],
}
"""What an older release cannot: several downloads for one model, and the newer form of a service."""


@pytest.mark.parametrize("version", ["0.15", "0.16", "0.17", "0.20"])
@pytest.mark.parametrize("name", STACKS)
def test_what_is_rendered_is_right_for_each_release(name: str, version: str):
    decided = plan(load(STACKS[name]), name)
    (cluster,) = decided.clusters.values()
    found = problems(objects(decided, cluster.name, version), cluster, version)
    known = TOO_NEW.get((name, version), [])
    assert len(found) == len(known)
    assert all(line.startswith(start) for line, start in zip(found, known, strict=True))


def test_the_example_of_the_documentation_can_be_applied():
    page = (HERE.parents[1] / "docs" / "kubernetes.md").read_text()
    decided = plan(loads(page.partition("```yaml\n")[2].partition("```")[0]), "example")
    assert decided.refusals == ()
    assert problems(objects(decided, "lab"), decided.clusters["lab"]) == ()
