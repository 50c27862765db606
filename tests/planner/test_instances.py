"""Instance types on hosts: the plan says what of them holds where, and counts what they keep."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from berth.facts import HostFacts
from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads
from tests.facts.fixtures import recorded

LIMITED = {"cpu": 4, "cpu_limit": 6, "memory": "8 GiB", "memory_limit": "24 GiB"}


def decided(
    instance: dict[str, Any], facts: HostFacts | None = None, *, model: dict[str, Any] | None = None, **host: Any
) -> Plan:
    content = {
        "hosts": {"box": {"connection": "local", **host}},
        "instances": {"small": instance},
        "models": {
            "tiny": {
                "source": {"random": "tiny"},
                "engine": {"name": "vllm", "version": "0.32.0", "device": "cpu"},
                "place": [{"host": "box", "replicas": 2}],
                "instance": "small",
                **(model or {}),
            }
        },
        "gateway": {"host": "box"},
    }
    return plan(loads(yaml.safe_dump(content)), "x", facts=None if facts is None else {"box": facts})


def said(found: Plan, where: str = "models.tiny.instance") -> list[tuple[str, str]]:
    return [(note.severity.value, note.text) for note in found.notes if note.where == where]


@pytest.mark.parametrize(
    ("host", "severity", "part"),
    [
        ({"init": "supervisord"}, "warning", "cpu_limit and memory_limit of small are not enforced on box"),
        ({}, "note", "cpu_limit and memory_limit of small hold on box where systemd keeps processes"),
    ],
    ids=["supervisord", "nobody has looked"],
)
def test_limits_that_may_not_hold_are_said_once(host: dict[str, Any], severity: str, part: str) -> None:
    found = decided(LIMITED, **host)
    assert found.unbuilt == ()
    assert found.refusals == ()
    ((how, text),) = said(found)
    assert (how, part in text) == (severity, True), text


@pytest.mark.parametrize("host", [{"init": "systemd"}, {"runtime": "docker", "engine": "an image"}])
def test_limits_that_hold_are_worth_no_word(host: dict[str, Any]) -> None:
    host.pop("engine", None)
    assert said(decided(LIMITED, **host)) == []


def test_what_looking_found_decides() -> None:
    facts = recorded("rtx5090-ubuntu2404")
    for init, severities in (("systemd", []), ("supervisord", ["warning"])):
        seen = facts.model_copy(update={"init": init, "gpus": (), "cores": 32})
        assert [how for how, _ in said(decided(LIMITED, seen))] == severities


def test_a_process_has_the_shared_memory_of_its_machine() -> None:
    ((how, text),) = said(decided({"cpu": 1, "memory": "1 GiB", "shared_memory": "2 GiB"}))
    assert (how, text) == ("warning", "shared_memory of small says nothing of a process, which has the machine's")


def test_cores_and_memory_are_kept_for_each_replica() -> None:
    found = decided(LIMITED, cores=6, memory="12 GiB")
    memory, cores = (str(note) for note in found.refusals)
    assert memory == (
        "hosts.box.memory: is 12.0 GiB, 16.0 GiB are needed (tiny-main-0 8.0 GiB of instance small, tiny-main-1 8.0 "
        "GiB of instance small); use fewer replicas there, or another host"
    )
    assert cores == (
        "hosts.box.cores: are 6, 8 are kept (tiny-main-0 4, tiny-main-1 4), must be enough for all; lower cpu of an "
        "instance, or use fewer replicas"
    )


def test_what_runs_already_is_counted_and_refused_nothing() -> None:
    running = {"adopt": {"process": True}, "place": [{"host": "box", "port": 8101}], "kv_cache": "2 GiB"}
    tight = {"cpu": 4, "memory": "1 GiB", "memory_limit": "1 GiB"}
    found = decided(tight, model=running, cores=2, memory="1 GiB")
    assert found.refusals == ()
    warned = {note.where for note in found.notes if note.severity.value == "warning"}
    assert warned >= {"hosts.box.cores", "hosts.box.memory", "models.tiny.instance"}


def test_limits_are_said_of_each_host() -> None:
    content = {
        "hosts": {
            "box": {"connection": "local", "init": "systemd"},
            "box2": {"connection": {"ssh": {"host": "box2"}}, "init": "supervisord"},
        },
        "instances": {"small": LIMITED},
        "models": {
            "tiny": {
                "source": {"random": "tiny"},
                "engine": {"name": "vllm", "version": "0.32.0", "device": "cpu"},
                "place": [{"host": "box"}, {"host": "box2", "replicas": 2}],
                "instance": "small",
            }
        },
    }
    ((how, text),) = said(plan(loads(yaml.safe_dump(content)), "x"))
    assert (how, "not enforced on box2" in text) == ("warning", True)
