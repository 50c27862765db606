"""What engines keep of the machine's own memory: who keeps it, whether it is there, what to do where it is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from berth.facts import HostFacts
from berth.planner.plan import Plan, Severity
from berth.planner.planning import plan
from berth.spec import loads
from tests.facts.fixtures import recorded

LLAMA = {"hub": "meta-llama/Llama-3.3-70B-Instruct", "revision": "0" * 40}
QWEN = {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "0" * 40}
BOX = {"connection": "local", "gpus": [{"model": "h200", "count": 2}]}
WHERE = "hosts.box.memory"


def decided(host: dict[str, Any], facts: HostFacts | None = None, **models: dict[str, Any]) -> Plan:
    base = {"engine": {"name": "vllm", "version": "0.11.1"}, "place": [{"host": "box"}], "context": 4096}
    content = {
        "hosts": {"box": {**BOX, **host}},
        "instances": {"roomy": {"cpu": 2, "memory": "200 GiB"}},
        "models": {name: {**base, "source": QWEN, **said} for name, said in models.items()},
        "gateway": {"host": "box"},
    }
    return plan(loads(yaml.safe_dump(content, sort_keys=False)), "x", facts=None if facts is None else {"box": facts})


def said(plan: Plan, where: str = WHERE) -> dict[str, str]:
    return {note.severity.value: note.text for note in plan.notes if note.where == where}


@pytest.mark.parametrize(
    ("model", "holds"),
    [
        ({"source": LLAMA, "cpu_offload": "40 GiB"}, "a-main-0 40.0 GiB of weights"),
        (
            {"source": LLAMA, "cpu_offload": "40 GiB", "parallel": {"tensor": 2}},
            "a-main-0 80.0 GiB of weights",  # for each card
        ),
        ({"cpu_offload": "40 GiB"}, "a-main-0 5.8 GiB of weights"),  # all that it has
        ({"args": {"kv_offloading_size": 24}}, "a-main-0 24.0 GiB of KV cache"),
        (
            {
                "engine": {"name": "sglang", "version": "0.5.9"},
                "parallel": {"tensor": 2},
                "args": {"enable_hierarchical_cache": True, "hicache_size": 30},
            },
            "a-main-0 55.9 GiB of KV cache",  # 30 GB for each rank
        ),
        ({"instance": "roomy"}, "a-main-0 200.0 GiB of instance roomy"),
        ({"instance": "roomy", "cpu_offload": "1 GiB"}, "a-main-0 200.0 GiB of instance roomy"),
        (
            {"engine": {"name": "vllm", "version": "0.32.0", "device": "cpu"}, "kv_cache": "8 GiB"},
            "a-main-0 5.7 GiB of weights + 8.0 GiB of KV cache",
        ),
    ],
    ids=["offload", "offload of two ranks", "offload of a small model", "vllm cache", "sglang cache", "instance",
         "instance above its terms", "engine on the CPU"],
)  # fmt: skip
def test_what_counts(model: dict[str, Any], holds: str) -> None:
    assert f"({holds})" in said(decided({"memory": "512 GiB"}, a=model))["note"]


def test_a_plain_engine_on_a_card_keeps_nothing_worth_a_word() -> None:
    assert said(decided({"memory": "64 GiB"}, a={})) == said(decided({}, a={})) == {}


def test_what_nobody_knows_is_a_note_and_stops_nothing() -> None:
    found = decided({}, a={"source": LLAMA, "cpu_offload": "40 GiB"})
    assert found.refusals == ()
    assert said(found)["note"].startswith("is not known, 40.0 GiB are needed (a-main-0 40.0 GiB of weights)")


def test_what_was_found_counts_and_what_was_declared_otherwise_is_said() -> None:
    facts = recorded("rtx5090-ubuntu2404").model_copy(update={"memory": 96 * 2**30, "gpus": ()})
    model = {"source": LLAMA, "cpu_offload": "100 GiB", "parallel": {"tensor": 1}}
    found = decided({"memory": "512 GiB"}, facts, a=model)
    assert said(found)["refusal"].startswith("is 96.0 GiB, 100.0 GiB are needed (a-main-0 100.0 GiB of weights)")
    assert said(found)["refusal"].endswith("lower models.a.cpu_offload to 96 GiB, or use another host")
    assert said(found)["warning"] == "is 512.0 GiB, the host has 96.0 GiB, which counts"


@pytest.mark.parametrize(("memory", "severity"), [("79 GiB", "refusal"), ("100 GiB", "warning"), ("160 GiB", "note")])
def test_each_engine_counts_and_pinning_takes_up_to_twice_as_much(memory: str, severity: str) -> None:
    one = {"source": LLAMA, "cpu_offload": "40 GiB"}
    found = decided({"memory": memory}, a=one, b=one)
    assert list(said(found)) == [severity]
    assert bool(found.refusals) is (severity == "refusal")
    assert "(a-main-0 40.0 GiB of weights, b-main-0 40.0 GiB of weights)" in said(found)[severity]


@pytest.mark.parametrize(
    ("memory", "way", "why"),
    [
        ("64 GiB", "surge", "fits beside it"),
        ("12 GiB", "hold", "keeps 4.0 GiB of the memory of box, of which 8.0 GiB are left"),
        ("7 GiB", "hold", "keeps 4.0 GiB of the memory of box, of which 3.0 GiB are left"),
    ],
    ids=["room for both", "room if nothing is rounded up", "no room"],
)
def test_a_second_engine_needs_its_memory_of_the_machine_as_well(memory: str, way: str, why: str) -> None:
    offloading = {"cpu_offload": "4 GiB", "share": 0.2}
    newer = {"engine": {"name": "vllm", "version": "0.32.0"}}
    (one,) = decided({"memory": memory}, a={**offloading, **newer}).replicas
    assert (one.on_change, why in one.why) == (way, True), one.why
    asked = decided({"memory": memory}, a={**offloading, **newer, "on_change": "surge"})
    refused = [note for note in asked.refusals if note.where == "models.a.on_change"]
    assert bool(refused) is (memory == "7 GiB")


def test_weights_larger_than_the_page_cache_are_read_at_each_start() -> None:
    found = decided({"memory": "96 GiB"}, a={"source": LLAMA, "parallel": {"tensor": 2}})
    text = said(found, "models.a on box")["note"]
    assert text.startswith("reads 131.5 GiB of weights through the page cache, for which 96.0 GiB are left")
    assert not found.refusals
    larger = decided({"memory": "256 GiB"}, a={"source": LLAMA, "parallel": {"tensor": 2}})
    assert said(larger, "models.a on box") == {}


def test_swap_space_that_a_release_only_looks_at_has_a_way_out() -> None:
    small = {"memory": "5 GiB"}
    assert said(decided(small, a={}), "models.a.unchecked_args").keys() == {"refusal"}
    without = decided(small, a={"unchecked_args": {"swap_space": 0}})
    assert without.refusals == ()
    assert without.replicas[0].arguments["swap-space"] == 0
    running = {"adopt": {"process": True}, "place": [{"host": "box", "port": 8001}]}
    assert said(decided(small, a=running), "models.a.unchecked_args") == {}, "it runs, whatever it was started with"
    newer = decided(small, a={"engine": {"name": "vllm", "version": "0.32.0"}})
    assert said(newer, "models.a.unchecked_args") == {}


def test_swap_space_counts_on_each_host() -> None:
    content = {
        "hosts": {
            "large": {**BOX, "memory": "64 GiB"},
            "box": {**BOX, "connection": {"ssh": {"host": "box"}}, "memory": "5 GiB"},
        },
        "models": {
            "a": {
                "source": QWEN,
                "engine": {"name": "vllm", "version": "0.11.1"},
                "context": 4096,
                "place": [{"host": "large"}, {"host": "box", "replicas": 2}],
            }
        },
    }
    found = plan(loads(yaml.safe_dump(content, sort_keys=False)), "x")
    (note,) = (note for note in found.notes if note.where == "models.a.unchecked_args")
    assert note.severity is Severity.REFUSAL
    assert note.text.endswith("; box is one with 5.0 GiB")
    (read,) = (note for note in found.notes if note.where == "models.a on box")
    assert "through the page cache, for which 5.0 GiB are left" in read.text


def test_swap_space_is_held_against_the_machine_around_a_container() -> None:
    facts = recorded("rtx5090-ubuntu2404").model_copy(update={"memory": 5 * 2**30, "gpus": ()})
    assert said(decided({}, facts, a={}), "models.a.unchecked_args").keys() == {"refusal"}
    inside = facts.model_copy(update={"container": "docker"})
    found = said(decided({}, inside, a={}), "models.a.unchecked_args")
    assert found["warning"].endswith("box is a container with 5.0 GiB, and its machine may have more")
    assert found.keys() == {"warning"}


def test_what_runs_already_is_refused_only_with_what_is_started_beside_it() -> None:
    running = {
        "source": LLAMA,
        "cpu_offload": "40 GiB",
        "adopt": {"process": True},
        "place": [{"host": "box", "port": 8101}],
    }
    alone = said(decided({"memory": "30 GiB"}, a=running))
    assert alone.keys() == {"warning"}
    assert alone["warning"].startswith("is 30.0 GiB, 40.0 GiB are needed (a-main-0 40.0 GiB of weights)")
    assert said(decided({"memory": "30 GiB"}, a=running, b={})).keys() == {"warning"}, "which keeps nothing"
    beside = said(decided({"memory": "42 GiB"}, a=running, b={"cpu_offload": "4 GiB"}))
    assert beside.keys() == {"refusal"}


def test_notes_stand_beside_those_of_the_cards() -> None:
    found = decided({"memory": "8 GiB"}, a={"source": LLAMA, "cpu_offload": "40 GiB", "context": 131072})
    assert {note.where for note in found.notes if note.severity is Severity.REFUSAL} >= {WHERE}
