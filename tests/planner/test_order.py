"""The order in which engines on one card are replaced: who shrinks goes first, and nothing needs more than there is."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from berth.catalogue.units import Bytes
from berth.facts.model import GpuProcess
from berth.planner.order import Held, held, in_order
from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads
from tests.facts.fixtures import recorded

GIB = 2**30
LOGS, PREFIX = "/srv/berth/prod/logs", "berth-prod-abc123"
SMALL, MEDIUM = "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Qwen/Qwen2.5-3B-Instruct"


def model(hub: str, share: float, **said: Any) -> dict[str, Any]:
    source = {"hub": hub, "revision": "0" * 40}
    engine = {"name": "vllm", "version": "0.11.0"}
    return {"source": source, "engine": engine, "place": [{"host": "box"}], "context": 1024, "share": share, **said}


def ordered(now: Held, **models: dict[str, Any]) -> Plan:
    hosts = {"box": {"connection": "local", "gpus": [{"model": "rtx-5090"}]}}
    stack = loads(yaml.safe_dump({"hosts": hosts, "models": models, "gateway": {"host": "box"}}))
    return in_order(plan(stack, "x"), stack, now)


def on_card(**sizes: float) -> Held:
    return {("box", f"{name}-main-0", 0): Bytes(round(size * GIB)) for name, size in sizes.items()}


def test_who_gives_memory_back_goes_before_who_takes_it() -> None:
    both = {"a": model(SMALL, 0.5), "b": model(MEDIUM, 0.3)}
    assert [one.model for one in ordered({}, **both).replicas] == ["a", "b"]
    found = ordered(on_card(a=8, b=16), **both)
    assert [(one.model, one.start_order) for one in found.replicas] == [("b", 0), ("a", 1)]
    assert "b-main-0 give memory back" in str(found.notes[-1])


def test_what_is_as_large_as_it_was_keeps_its_place() -> None:
    both = {"a": model(SMALL, 0.3), "b": model(MEDIUM, 0.4)}
    same = on_card(a=0.3 * 31.36 + 0.5, b=0.4 * 31.36 + 0.2)
    assert ordered(same, **both) == ordered({}, **both)


@pytest.mark.parametrize(("said", "way"), [("auto", "hold"), ("refuse", "refuse")])
def test_a_surge_that_would_need_the_room_of_the_old_one_is_none(said: str, way: str) -> None:
    one = model(SMALL, 0.4, on_change=said)
    assert ordered(on_card(a=12), a=one).replicas[0].on_change == "surge"
    shrunk = ordered(on_card(a=25), a=one).replicas[0]
    assert shrunk.on_change == way
    assert "while the others are still as they were" in shrunk.why
    notes = ordered(on_card(a=25), a=model(SMALL, 0.4, on_change="surge")).refusals
    assert [note.where for note in notes] == ["models.a.on_change"]


@pytest.mark.parametrize(
    ("share", "said", "way"),
    [
        (0.4, "auto", "surge"),
        (0.4, "surge", "surge"),
        (0.4, "hold", "hold"),
        (0.4, "refuse", "surge"),
        (0.8, "auto", "hold"),
        (0.8, "hold", "hold"),
        (0.8, "refuse", "refuse"),
    ],
)
def test_the_way_follows_from_what_the_card_has_room_for(share: float, said: str, way: str) -> None:
    (replica,) = ordered({}, a=model(SMALL, share, on_change=said)).replicas
    assert replica.on_change == way
    if said != "hold":
        assert re.search(
            r"a second [\d.]+ GiB (does not fit|fits) beside it: [\d.]+ GiB of gpu 0 are left", replica.why
        )


def test_a_parked_revision_has_no_engine_and_no_share_but_keeps_its_place() -> None:
    revisions = {"main": {}, "next": {"context": 512}}
    said = model(SMALL, 0.8, traffic={"main": 100, "next": 0}, idle="parked", revisions=revisions)
    found = ordered({}, a=said)
    assert ([one.name for one in found.replicas], [one.name for one in found.parked]) == (["a-main-0"], ["a-next-0"])
    assert found.gateway is not None
    assert [share.revision for share in found.gateway.models[0].revisions] == ["main"]
    assert found.refusals == ()
    both = ordered({}, a={**said, "idle": "warm"})
    assert any("does not fit" in str(note) for note in both.refusals)


def test_what_the_stack_file_no_longer_has_goes_last_and_blocks_who_is_new_and_needs_its_room() -> None:
    (refused,) = ordered(on_card(gone=20), a=model(SMALL, 0.5)).refusals
    assert "(gone-main-0 20.0 GiB), which goes last; end that in an update of its own first" in str(refused)
    assert ordered(on_card(gone=20), a=model(SMALL, 0.25)).refusals == ()


@pytest.mark.parametrize("there", [{"a": 17.9}, {}], ids=["smaller than predicted", "crashed"])
def test_one_that_ran_beside_what_goes_is_not_blocked_by_it(there: dict[str, float]) -> None:
    a, b = model(SMALL, 0.6), model(MEDIUM, 0.33)
    assert ordered(on_card(b=12, **there), a=a, b=b).refusals == ()
    assert ordered(on_card(b=12, **there), a=a).refusals == ()


def test_what_replicas_hold_is_read_from_the_facts_of_their_host() -> None:
    host = recorded("h100x8-nvswitch")
    first, second = host.gpus[0].uuid, host.gpus[1].uuid
    container = f"/docker/{'0' * 64}/{PREFIX}-b-next-1/{PREFIX}-b-next-1"
    processes = (
        GpuProcess(uuid=first, pid=1, memory=30 * GIB, output=f"{LOGS}/a-main-0.log"),
        GpuProcess(uuid=first, pid=2, memory=GIB, cgroup=container),
        GpuProcess(uuid=second, pid=3, memory=2 * GIB, cgroup=container),
        GpuProcess(uuid=second, pid=4, memory=GIB, cgroup=f"/system.slice/{PREFIX}-c-main-0.service"),
        GpuProcess(uuid=second, pid=5, memory=GIB, cgroup=f"/system.slice/{PREFIX}-dcgm.service"),
        GpuProcess(uuid=second, pid=6, memory=GIB, output="/home/somebody/log"),
    )
    found = held(host.model_copy(update={"gpu_processes": processes}), LOGS, PREFIX)
    assert {key: size // GIB for key, size in found.items()} == {
        ("a-main-0", 0): 30,
        ("b-next-1", 0): 1,
        ("b-next-1", 1): 2,
        ("c-main-0", 1): 1,
    }
