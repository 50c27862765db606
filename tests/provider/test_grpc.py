"""The provider over real gRPC: each trap of a provider in Python, pinned by a test of its name."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, provider_pb2

from berth.facts import HostFacts
from berth.provider.facts import FACTS
from berth.provider.kubernetes.settings import CLUSTERS
from berth.provider.wire import SENTINELS, UNKNOWN
from tests.provider.served import FILE, THING, Served, got, sent, served, urn

Kind = provider_pb2.PropertyDiff


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(str(tmp_path / "work")) as running:
        yield running


@pytest.fixture
def thing(tmp_path: Path) -> dict[str, Any]:
    """A complete declaration."""
    return {
        **{"host": "box", "folder": str(tmp_path / "thing"), "number": 7, "share": 0.25, "on": True},
        **{"items": ["a", "b"], "options": {"x.y": 1, "z": {"on": False}}, "secret": "s3cret", "seconds": 0},
    }


def digest(folder: Path) -> str:
    """Everything in a folder: names, modes, times and contents."""
    seen = []
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        seen.append((str(path), stat.st_mode, stat.st_mtime_ns, content))
    return json.dumps(seen)


async def failure(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = caught.value.details() or ""
    assert "Unexpected <class" not in details
    assert "Traceback" not in details
    return caught.value.code(), details


# 1. Child types are qualified


async def test_a_type_qualified_by_two_parents_finds_its_operation(provider: Served, thing: dict[str, Any]) -> None:
    name = f"urn:pulumi:dev::llm-serving::berth:index:Stack$berth:index:InferenceServer${THING}::a::b"
    answer = await provider.stub.Check(provider_pb2.CheckRequest(urn=name, news=sent(thing)))
    assert got(answer.inputs) == thing
    assert not answer.failures


async def test_an_unknown_type_is_named_with_those_there_are(provider: Served) -> None:
    code, text = await failure(provider.check("berth:host:Fiel", {}))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == f"berth:host:Fiel is not a resource of this provider; it has {FILE}, {THING}"


# 2. Unknowns arrive as strings


@pytest.mark.parametrize("sentinel", sorted(SENTINELS))
@pytest.mark.parametrize("place", ["number", "items", "folder", "options"])
async def test_every_kind_of_unknown_passes_check_diff_create_and_update_in_preview(
    provider: Served, thing: dict[str, Any], sentinel: str, place: str
) -> None:
    new = {**thing, place: {"deep": [sentinel]} if place == "options" else sentinel}
    expected = {**thing, place: {"deep": [UNKNOWN]} if place == "options" else UNKNOWN}
    checked = await provider.check(THING, new)
    assert not checked.failures
    assert got(checked.inputs) == expected
    differs = await provider.diff(THING, thing, new)
    assert differs.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(differs.diffs) == [place]
    assert await provider.create(THING, new, preview=True) == ("", {**expected, "made": UNKNOWN})
    assert await provider.update(THING, thing, new, preview=True) == {**expected, "made": UNKNOWN}
    assert not Path(thing["folder"]).exists()


async def test_an_unknown_in_what_cannot_change_in_place_foretells_a_replacement(
    provider: Served, thing: dict[str, Any]
) -> None:
    differs = await provider.diff(THING, thing, {**thing, "folder": UNKNOWN})
    assert list(differs.replaces) == ["folder"]
    assert differs.detailedDiff["folder"].kind == Kind.UPDATE_REPLACE


async def test_unknown_hosts_do_not_break_a_preview_s_configuration(provider: Served) -> None:
    await provider.stub.Configure(provider_pb2.ConfigureRequest(args=sent({"hosts": UNKNOWN})))


async def test_hosts_that_are_no_json_are_refused_cleanly(provider: Served) -> None:
    for hosts in ("{", '{"box": {"connection": "telnet", "workspace": "/x"}}'):
        request = provider_pb2.ConfigureRequest(args=sent({"hosts": hosts}))
        code, _ = await failure(provider.stub.Configure(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT


# 3. Numbers


async def test_numbers_keep_their_kind_from_create_to_state(provider: Served, thing: dict[str, Any]) -> None:
    _, state = await provider.create(THING, thing)
    assert state == {**thing, "made": "7 on box"}
    written = json.loads(Path(thing["folder"], "thing").read_text())
    assert {type(written["number"]), type(written["share"]), type(written["on"])} == {int, float, bool}
    assert (await provider.diff(THING, state, thing)).changes == provider_pb2.DiffResponse.DIFF_NONE


# 4. No old inputs in the requests


async def test_state_holds_every_input_so_that_nothing_else_is_needed(provider: Served, thing: dict[str, Any]) -> None:
    identity, state = await provider.create(THING, thing)
    assert identity == thing["folder"]
    assert thing.items() <= state.items()
    changed = {**thing, "number": 8}
    assert changed.items() <= (await provider.update(THING, state, changed)).items()
    await provider.delete(THING, state)
    assert not Path(thing["folder"]).exists()


# 5. A detailed diff


async def test_each_path_that_differs_is_named_with_its_kind(provider: Served, thing: dict[str, Any]) -> None:
    new = {**thing, "number": 8, "items": ["a"], "options": {"x.y": 2, "z": {"on": False}, "new": 1}}
    differs = await provider.diff(THING, thing, new)
    assert differs.hasDetailedDiff
    assert differs.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert {path: change.kind for path, change in differs.detailedDiff.items()} == {
        "number": Kind.UPDATE,
        "items[1]": Kind.DELETE,
        'options["x.y"]': Kind.UPDATE,
        "options.new": Kind.ADD,
    }
    assert all(change.inputDiff for change in differs.detailedDiff.values())
    assert list(differs.diffs) == ["items", "number", "options"]
    assert list(differs.replaces) == []


async def test_what_cannot_change_in_place_is_replaced_and_says_so_consistently(
    provider: Served, thing: dict[str, Any]
) -> None:
    differs = await provider.diff(THING, thing, {**thing, "folder": "/elsewhere", "number": 8})
    assert {path: change.kind for path, change in differs.detailedDiff.items()} == {
        "folder": Kind.UPDATE_REPLACE,
        "number": Kind.UPDATE,
    }
    assert list(differs.replaces) == ["folder"]
    assert differs.deleteBeforeReplace


async def test_what_is_to_be_ignored_does_not_differ(provider: Served, thing: dict[str, Any]) -> None:
    differs = await provider.diff(THING, thing, {**thing, "number": 8, "folder": "/x"}, ignore=["number", "folder"])
    assert differs.changes == provider_pb2.DiffResponse.DIFF_NONE


async def test_outputs_and_forgotten_properties_of_a_state_are_no_difference(
    provider: Served, thing: dict[str, Any]
) -> None:
    differs = await provider.diff(THING, {**thing, "made": "old", "of_another_version": 1}, thing)
    assert differs.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert not differs.detailedDiff


# 7. Secrets


async def test_secrets_are_left_to_the_engine(provider: Served) -> None:
    answer = await provider.stub.Configure(provider_pb2.ConfigureRequest(args=sent({"hosts": "{}"})))
    assert not answer.acceptSecrets
    assert answer.supportsPreview


async def test_a_secret_input_appears_under_its_own_name_and_nowhere_else(
    provider: Served, thing: dict[str, Any]
) -> None:
    _, state = await provider.create(THING, thing)
    assert [name for name, value in state.items() if "s3cret" in str(value)] == ["secret"]
    assert not any("s3cret" in entry.message for entry in provider.engine.logged)


async def test_a_refused_input_is_not_repeated_in_the_refusal(provider: Served, thing: dict[str, Any]) -> None:
    answer = await provider.check(THING, {**thing, "secret": ["s3cret"]})
    assert [failed.property for failed in answer.failures] == ["secret"]
    assert "s3cret" not in answer.failures[0].reason


# 8. A preview writes nothing


async def test_a_preview_of_create_and_update_leaves_every_file_as_it_was(
    provider: Served, thing: dict[str, Any], tmp_path: Path
) -> None:
    _, state = await provider.create(THING, thing)
    file = {"host": "box", "path": str(tmp_path / "new/file"), "content": "x", "mode": "0644", "owner": ""}
    before = digest(tmp_path)
    assert await provider.create(FILE, file, preview=True) == ("", file)
    assert await provider.update(THING, state, {**thing, "number": 9}, preview=True) == {
        **thing,
        "number": 9,
        "made": UNKNOWN,
    }
    await provider.check(FILE, file)
    await provider.diff(THING, state, {**thing, "number": 9})
    await provider.read(THING, state)
    assert digest(tmp_path) == before


async def test_a_preview_does_not_take_the_host_s_lock(provider: Served, thing: dict[str, Any], tmp_path: Path) -> None:
    async with served(str(tmp_path / "work")) as other:
        await other.create(THING, thing)
        began = time.monotonic()
        await provider.create(THING, {**thing, "folder": str(tmp_path / "b")}, preview=True)
        assert time.monotonic() - began < 5


# 9. Errors


async def test_a_failing_command_is_told_without_class_or_traceback(provider: Served, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder must be")
    file = {"host": "box", "path": str(tmp_path / "taken/file"), "content": "x"}
    code, text = await failure(provider.create(FILE, file))
    assert code is grpc.StatusCode.UNKNOWN
    assert text.startswith(f"box: writing {tmp_path}/taken/file: the command ended with status")


async def test_an_unknown_host_is_named_with_those_there_are(provider: Served, thing: dict[str, Any]) -> None:
    code, text = await failure(provider.create(THING, {**thing, "host": "bix"}))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == "host 'bix' is not one of the stack's hosts (box); declare it under hosts"


async def test_what_lies_on_a_host_that_is_gone_is_shown_as_last_known_and_not_deleted(
    provider: Served, thing: dict[str, Any]
) -> None:
    gone = {**thing, "host": "gone"}
    answer = await provider.read(THING, gone)
    assert (answer.id, got(answer.properties)) == ("x", gone)
    async with asyncio.timeout(5):
        while not provider.engine.logged:
            await asyncio.sleep(0.02)
    assert provider.engine.logged[0].severity == engine_pb2.WARNING
    code, text = await failure(provider.delete(THING, gone))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("host 'gone' is not one of the stack's hosts (box); declare it under hosts again to ")
    assert text.endswith("drop what the state knows of it: berth forget gone --stack dev")


async def test_a_check_names_every_wrong_input_by_its_path(provider: Served, thing: dict[str, Any]) -> None:
    wrong = {**thing, "number": "many", "items": ["a", 5], "colour": "red"}
    del wrong["folder"]
    answer = await provider.check(THING, wrong)
    assert sorted(failed.property for failed in answer.failures) == ["colour", "folder", "items[1]", "number"]
    assert all(failed.reason for failed in answer.failures)


async def test_a_check_fills_in_defaults(provider: Served) -> None:
    answer = await provider.check(THING, {"host": "box", "folder": "/x"})
    assert got(answer.inputs) == {
        **{"host": "box", "folder": "/x", "number": 1, "share": 0.5, "on": True, "items": [], "options": {}},
        **{"secret": "", "seconds": 0},
    }


async def test_create_is_the_recovery_of_what_is_half_done(provider: Served, thing: dict[str, Any]) -> None:
    await provider.create(THING, {**thing, "number": 1})
    _, state = await provider.create(THING, thing)
    assert json.loads(Path(thing["folder"], "thing").read_text())["number"] == 7
    assert state["number"] == 7


# 10. Read is a real observation


async def test_read_gives_what_it_saw_as_inputs_too(provider: Served, thing: dict[str, Any]) -> None:
    _, state = await provider.create(THING, thing)
    file = Path(thing["folder"], "thing")
    file.write_text(json.dumps({**thing, "number": 99}))
    answer = await provider.read(THING, state, thing)
    assert answer.id == "x"
    assert got(answer.inputs) == {**thing, "number": 99}
    assert got(answer.properties) == {**thing, "number": 99, "made": "7 on box"}
    differs = await provider.diff(THING, got(answer.properties), thing)
    assert list(differs.detailedDiff) == ["number"]


async def test_what_is_gone_has_no_id(provider: Served, thing: dict[str, Any]) -> None:
    _, state = await provider.create(THING, thing)
    Path(thing["folder"], "thing").unlink()
    assert (await provider.read(THING, state, thing)).id == ""


async def test_a_state_of_another_version_crashes_neither_read_nor_diff(
    provider: Served, thing: dict[str, Any]
) -> None:
    old = {"host": "box", "folder": {"path": thing["folder"]}, "number": "seven"}
    answer = await provider.read(THING, old, old)
    assert answer.id == "x"
    assert got(answer.properties) == got(answer.inputs) == old
    differs = await provider.diff(THING, old, thing)
    assert differs.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert "folder" in list(differs.replaces)


async def test_a_state_of_another_version_is_refused_cleanly_by_delete(provider: Served) -> None:
    code, text = await failure(provider.delete(THING, {"host": "box", "number": "seven"}))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "the state is from another version" in text


async def test_deleting_what_is_gone_is_no_failure(provider: Served, thing: dict[str, Any], tmp_path: Path) -> None:
    await provider.delete(THING, thing)
    await provider.delete(FILE, {"host": "box", "path": str(tmp_path / "no/such"), "content": "x"})
    await provider.delete(FILE, {"host": "box", "path": str(tmp_path / "no/such"), "content": "x"})


# 11. Many at once, cancel and timeouts


async def test_one_slow_resource_does_not_hold_the_others_up(
    provider: Served, thing: dict[str, Any], tmp_path: Path
) -> None:
    slow = asyncio.create_task(provider.create(THING, {**thing, "seconds": 30}))
    await provider.create(FILE, {"host": "box", "path": str(tmp_path / "quick"), "content": "x"})
    assert not slow.done()
    await provider.stub.Cancel(empty_pb2.Empty())
    await failure(slow)


async def test_custom_timeouts_are_honoured(provider: Served, thing: dict[str, Any]) -> None:
    began = time.monotonic()
    code, text = await failure(provider.create(THING, {**thing, "seconds": 60}, timeout_s=1))
    assert time.monotonic() - began < 5
    assert code is grpc.StatusCode.UNKNOWN
    assert text == "not done within the 1 s of its customTimeouts"
    assert not Path(thing["folder"]).exists()


async def test_cancel_ends_a_running_command_and_says_so(provider: Served, thing: dict[str, Any]) -> None:
    seconds = 61.125  # tells this test's sleep from any other
    running = asyncio.create_task(provider.create(THING, {**thing, "seconds": seconds}))
    async with asyncio.timeout(10):
        while not await sleeping(seconds):
            await asyncio.sleep(0.02)
    await provider.stub.Cancel(empty_pb2.Empty())
    _, text = await failure(running)
    assert text == "cancelled; run the same again, it goes on from what is there"
    assert not await sleeping(seconds)
    await provider.create(THING, thing)


async def test_cancel_at_the_normal_end_does_nothing(provider: Served, thing: dict[str, Any]) -> None:
    await provider.create(THING, thing)
    await provider.stub.Cancel(empty_pb2.Empty())
    assert got((await provider.read(THING, thing)).inputs) == thing


async def sleeping(seconds: float) -> bool:
    """Whether a process of this machine sleeps for just that long."""
    search = await asyncio.create_subprocess_exec("pgrep", "-f", f"^sleep {seconds}$", stdout=asyncio.subprocess.PIPE)
    await search.communicate()
    return search.returncode == 0


# Beside the traps


async def test_facts_tell_what_the_host_is(provider: Served) -> None:
    answer = await provider.stub.Invoke(provider_pb2.InvokeRequest(tok=FACTS, args=sent({"host": "box"})))
    facts = HostFacts.model_validate_json(got(getattr(answer, "return"))["facts"])
    assert facts.kernel == os.uname().release
    assert facts.home == str(Path.home())
    assert facts.memory > 2**28


async def test_an_unknown_function_is_named(provider: Served) -> None:
    code, text = await failure(provider.stub.Invoke(provider_pb2.InvokeRequest(tok="berth:host:fax")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == f"berth:host:fax is not a function of this provider; it has {FACTS} and {CLUSTERS}"


async def test_what_is_done_is_said_beside_its_resource_in_its_order(provider: Served, thing: dict[str, Any]) -> None:
    await provider.create(THING, thing)
    async with asyncio.timeout(5):
        while len(provider.engine.logged) < 2:
            await asyncio.sleep(0.02)
    said = [(entry.urn, entry.message, entry.ephemeral) for entry in provider.engine.logged]
    assert said == [(urn(THING), "working", True), (urn(THING), f"writing {thing['folder']}/thing", True)]
    assert {entry.severity for entry in provider.engine.logged} == {engine_pb2.INFO}


async def test_a_warning_stays_in_the_preview_beside_its_resource(provider: Served, thing: dict[str, Any]) -> None:
    await provider.create(THING, {**thing, "number": 0, "items": []}, preview=True)
    async with asyncio.timeout(5):
        while not provider.engine.logged:
            await asyncio.sleep(0.02)
    said = [(entry.urn, entry.message, entry.ephemeral, entry.severity) for entry in provider.engine.logged]
    assert said == [(urn(THING), "box: nothing may be on", False, engine_pb2.WARNING)]


async def test_nothing_is_done_nor_said_when_all_is_as_declared(provider: Served, thing: dict[str, Any]) -> None:
    _, state = await provider.create(THING, thing)
    written = Path(thing["folder"], "thing").stat().st_mtime_ns
    said = len(provider.engine.logged)
    assert await provider.update(THING, state, thing) == state
    assert Path(thing["folder"], "thing").stat().st_mtime_ns == written
    assert len(provider.engine.logged) == said
