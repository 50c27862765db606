"""Three models that compose has started, imported: the stack of the RTX 5090 but for what nobody can see on a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from berth.facts import HostFacts
from berth.importing import Imported, stack, text
from berth.planner.planning import plan
from berth.running import meaning, parse, read
from berth.spec import Stack, load, loads
from tests.importing.composed import DIGEST, answer

ROOT = Path(__file__).parents[2]
CONNECTION = {"ssh": {"host": "rtx5090.example", "user": "ubuntu"}}
UNSEEN = {
    "hosts.box.prerequisites": "what installed the driver and Docker does not show in what runs",
    "models.*.measured": "a figure that somebody has measured",
    "models.*.prove": "what is asked after a deployment",
    "models.*.share": "a running engine has one share, no profiles",
    "models.*.place": "compose opens the port to everybody; the stack has it on loopback",
    "models.*.engine.image": "what runs has a digest, the stack the release's own tag",
    "models.*.adopt": "what marks it as running already",
    "models.qwen.source.token": "the container has a token, which the stack's models do not need",
    "gateway": "nginx keeps its port until it is stopped",
    "monitoring": "the exporter that runs keeps its port",
}
"""In what the imported stack differs from stacks/rtx5090.yaml, and why."""


@pytest.fixture(scope="module")
def facts() -> HostFacts:
    return HostFacts.model_validate_json((ROOT / "tests/facts/recorded/rtx5090-ubuntu2404.json").read_text())


@pytest.fixture(scope="module")
def imported(facts: HostFacts) -> Imported:
    look = parse(answer())
    return stack(look, facts, "box", CONNECTION, {one.pid: "0.10.1.1" for one in look.containers})


@pytest.fixture(scope="module")
def written(imported: Imported) -> str:
    return text(imported, "What ran on box.")


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """A stack as one level: the leaves by their paths."""
    if isinstance(value, dict) and value:
        parts = [flat(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()]
        return {key: item for part in parts for key, item in part.items()}
    return {path: value}


def leaves(stack: Stack) -> dict[str, Any]:
    """What a stack says beyond defaults; a model's one revision is the model."""
    said = stack.model_dump(mode="json", exclude_defaults=True)
    said["models"] = {name: {**model.pop("revisions")["main"], **model} for name, model in said["models"].items()}
    return flat(said)


def is_unseen(path: str) -> bool:
    parts = path.split(".")
    patterns = [pattern.split(".") for pattern in UNSEEN]
    return any(
        all(one in {"*", part} for one, part in zip(pattern, parts, strict=False)) and len(parts) >= len(pattern)
        for pattern in patterns
    )


def test_it_is_the_stack_of_the_card_but_for_what_cannot_be_seen(written: str) -> None:
    ours, theirs = leaves(loads(written)), leaves(load(ROOT / "stacks/rtx5090.yaml"))
    # Which model is the default's, and the port of which is said how, is one to both; the profile is the default.
    differ = {path for path in ours | theirs if ours.get(path) != theirs.get(path)}
    assert {path for path in differ if not is_unseen(path)} == set()
    for name, port in (("tinyllama", 8001), ("qwen", 8002), ("yi", 8003)):
        (place,) = ours[f"models.{name}.place"]
        assert (place["gpus"], place["port"], place["address"]) == ([0], port, "0.0.0.0")
        assert ours[f"models.{name}.adopt.container"] == name
        assert ours[f"models.{name}.engine.image"] == DIGEST


def test_each_documented_difference_is_one(written: str) -> None:
    ours, theirs = leaves(loads(written)), leaves(load(ROOT / "stacks/rtx5090.yaml"))
    differ = [path.split(".") for path in ours | theirs if ours.get(path) != theirs.get(path)]
    for pattern in UNSEEN:
        parts = pattern.split(".")
        assert any(all(a in {"*", b} for a, b in zip(parts, path, strict=False)) for path in differ), pattern


def test_it_plans_without_a_refusal(written: str, facts: HostFacts) -> None:
    made = plan(loads(written), "box", facts={"box": facts})
    assert made.refusals == ()
    assert [replica.adopted.container for replica in made.replicas if replica.adopted] == ["tinyllama", "qwen", "yi"]


def test_no_secret_is_written(written: str) -> None:
    assert "hf_notARealTokenAtAll" not in written
    assert "token: hf_token" in written
    assert "# its token is not written: `pulumi config set --secret hf_token`" in written


def test_what_stands_in_front_is_noted(written: str, imported: Imported) -> None:
    assert imported.content["gateway"] == {"host": "box", "port": 8080}
    assert "container gateway (nginx) listens on 8000 and stays as it is" in " ".join(written.split())
    assert "compose project llm (/home/ubuntu/llm/compose.yaml) made these containers" in written


def test_what_the_stack_says_is_what_runs(written: str, facts: HostFacts) -> None:
    """Else the first update would refuse what it has just imported."""
    made = {replica.model: replica for replica in plan(loads(written), "box", facts={"box": facts}).replicas}
    for container in parse(answer()).containers:
        line = read(container.words, container.environment, "0.10.1.1")
        if line is not None:
            adopted = made[container.name].adopted
            assert adopted is not None
            assert meaning(line, adopted.card_memory).says == adopted.says
