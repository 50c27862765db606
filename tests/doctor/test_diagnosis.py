"""A diagnosis of recorded machines: what is looked at, how it is said, and how it ends."""

from __future__ import annotations

import json

import pytest

from berth.doctor import Diagnosis, diagnose, lines, to_json
from berth.facts import HostFacts
from berth.planner.planning import plan
from berth.planner.readiness import State
from berth.spec import loads
from tests.facts.fixtures import recorded

STACK = """
hosts:
  box:
    connection: {ssh: {host: box, host_key: ssh-ed25519 A}}
    gpus: [{model: rtx-5090}]
    runtime: docker
  far: {connection: {ssh: {host: far, host_key: ssh-ed25519 A}}}
models:
  m:
    source: {hub: Qwen/Qwen2.5-3B-Instruct, revision: aa8e72537993ba99e69dfaafa59ed015b17504d1}
    engine: {name: vllm, version: 0.11.0}
    place: [{host: box, port: 20500}]
gateway: {host: box, port: 8000}
"""


def diagnosis(box: HostFacts | None = None, text: str = STACK) -> Diagnosis:
    facts = {"box": box or recorded("rtx5090-ubuntu2404")}
    return diagnose(plan(loads(text), "x", facts=facts), facts, {"far": "far: connection refused"})


def states(found: Diagnosis, host: str) -> dict[str, State]:
    (checks,) = [one.checks for one in found.hosts if one.name == host]
    return {check.about: check.state for check in checks}


def ports(*listening: int) -> HostFacts:
    return recorded("rtx5090-ubuntu2404").model_copy(update={"ports": listening})


def test_an_unreached_host_fails_alone():
    found = diagnosis()
    assert states(found, "far") == {"connection": State.FAIL}
    assert states(found, "box")["driver"] is State.OK
    assert found.code == 2
    (check,) = found.hosts[1].checks
    assert str(check).startswith("not reached (connection refused), must be reachable; ")


@pytest.mark.parametrize(
    ("listening", "state", "words"),
    [
        ((), State.OK, "nothing of the stack runs there"),
        ((8000, 20500), State.OK, "m-main-0, the gateway listen"),
        ((8000,), State.FAIL, "nothing listens on port 20500, must be m-main-0"),
    ],
)
def test_who_listens_is_seen(listening: tuple[int, ...], state: State, words: str):
    checks = [check for check in diagnosis(ports(*listening)).hosts[0].checks if check.about == "services"]
    assert [check.state for check in checks] == [state]
    assert words in str(checks[0])


def test_a_full_disk_is_a_warning():
    facts = recorded("rtx5090-ubuntu2404")
    full = facts.model_copy(update={"disks": tuple(disk.model_copy(update={"free": 2**30}) for disk in facts.disks)})
    assert states(diagnosis(full), "box")["disk"] is State.WARN


ALONE = """
hosts:
  box: {connection: {ssh: {host: box, host_key: ssh-ed25519 A}}, gpus: [{model: rtx-5090}]}
models:
  m:
    source: {hub: Qwen/Qwen2.5-3B-Instruct, revision: aa8e72537993ba99e69dfaafa59ed015b17504d1}
    engine: {name: vllm, version: 0.11.0}
    place: [{host: box}]
"""


@pytest.mark.parametrize(
    ("change", "code"),
    [({}, 0), ({"reboot_required": True}, 1), ({"unread": {"files./etc/x": "its mode"}}, 1), ({"gpus": ()}, 2)],
)
def test_the_exit_code_is_that_of_the_worst(change: dict[str, object], code: int):
    found = diagnosis(recorded("rtx5090-ubuntu2404").model_copy(update=change), ALONE)
    assert found.code == code, "\n".join(line for _, line in lines(found))


def test_what_a_host_says_is_not_said_again_for_the_plan():
    lacking = recorded("rtx5090-ubuntu2404").model_copy(update={"toolkit": None})
    found = diagnosis(lacking)
    said = [str(check) for check in found.checks]
    assert len([line for line in said if "container toolkit is not installed" in line]) == 1


def test_text_and_json_say_the_same():
    found = diagnosis()
    text = "\n".join(line for _, line in lines(found))
    document = json.loads(to_json(found))
    assert document["code"] == found.code
    for checks in (document["plan"], *document["hosts"].values()):
        for check in checks:
            assert check["is"] in text
            assert check["state"] in {"ok", "warn", "fail", "unknown"}
    assert text.splitlines()[0] == "box"
    assert text.splitlines()[-1].startswith("x: ")
