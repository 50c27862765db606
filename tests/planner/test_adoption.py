"""Engines that run already: planned as they are said to be, on a card that they hold themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.facts import HostFacts
from berth.facts.model import GpuProcess
from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads

RECORDED = Path(__file__).parents[1] / "facts/recorded/rtx5090-ubuntu2404.json"
MODEL = {
    "source": {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "0" * 40},
    "engine": {"name": "vllm", "version": "0.11.0"},
    "place": [{"host": "box", "gpus": [0], "port": 8001}],
    "context": 4096,
    "share": 0.9,
}


def planned(
    adopt: dict[str, Any] | None, runtime: str = "docker", *, facts: HostFacts | None = None, **more: Any
) -> Plan:
    stack = {
        "hosts": {"box": {"connection": "local", "gpus": [{"model": "rtx-5090"}], "runtime": runtime}},
        "models": {"qwen": {**MODEL, **({"adopt": adopt} if adopt else {}), **more}},
    }
    return plan(loads(yaml.safe_dump(stack)), "x", facts={"box": facts} if facts is not None else {})


def holding(cgroup: str, command: str = "VLLM::EngineCor") -> HostFacts:
    """The machine with one process on its card that holds 29 GiB."""
    facts = HostFacts.model_validate_json(RECORDED.read_text())
    held = 29 * 2**30
    gpu = facts.gpus[0].model_copy(update={"used": held})
    process = GpuProcess(uuid=gpu.uuid, pid=7, memory=held, command=command, cgroup=cgroup)
    return facts.model_copy(update={"gpus": (gpu,), "gpu_processes": (process,), "gathered": datetime.now(UTC)})


def test_what_it_says_is_what_its_command_line_says() -> None:
    made = planned({"container": "q"}, args={"--swap-space": 4, "enforce_eager": True}, parallel={"tensor": 1})
    (replica,) = made.replicas
    assert replica.adopted is not None
    assert replica.adopted.says == {
        "context": 4096,
        "share": 0.9,
        "args": {"swap_space": 4, "enforce_eager": True},
    }
    assert (replica.adopted.container, replica.adopted.take, replica.adopted.image) == ("q", False, "")


@pytest.mark.parametrize(
    ("adopt", "runtime", "cgroup", "fits"),
    [
        ({"container": "q"}, "docker", "/docker/" + "a" * 64 + "//q", True),
        ({"container": "q"}, "docker", "/docker/" + "a" * 64 + "//other-q", False),
        ({"process": True}, "process", "/user.slice", True),
        (None, "docker", "/docker/" + "a" * 64 + "//q", False),
    ],
)
def test_what_it_holds_of_its_card_is_its_own(
    adopt: dict[str, Any] | None, runtime: str, cgroup: str, *, fits: bool
) -> None:
    made = planned(adopt, runtime, facts=holding(cgroup))
    assert (made.cards[0].verdict != "does not fit") == fits


@pytest.mark.parametrize("engine", [{"name": "tgi", "version": "3.3.7"}, {"name": "vllm", "version": "0.11.0"}])
def test_what_berth_could_not_install_can_be_adopted(engine: dict[str, str]) -> None:
    made = planned({"process": True}, "process", engine=engine)
    assert (made.refusals, made.unbuilt) == ((), ())
