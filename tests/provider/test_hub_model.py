"""The resource of a downloaded model: real commands on this machine against a stand-in hub."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from berth.provider.command import Command
from berth.provider.connection.local import LocalConnection
from berth.provider.download import DownloadFailed
from berth.provider.host import Host
from berth.provider.hub.program import program
from berth.provider.hub.stop import STATUS
from berth.provider.operations.hub_model import HubModel, HubModelWant
from berth.provider.registry import OPERATIONS
from tests.hub.fixtures import NEEDED, hub, model_files
from tests.hub.stand_in import StandInHub
from tests.machines.fixtures import systemd_machine
from tests.machines.machine import Machine

__all__ = ["hub", "systemd_machine"]

REPO = "org/model"
TOKEN = "hf_granted_secret"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def host(tmp_path: Path, said: list[str]) -> Host:
    return Host(name="box", workspace=str(tmp_path / "work"), connection=LocalConnection("box"), say=said.append)


@pytest.fixture
def want(hub: StandInHub, tmp_path: Path) -> HubModelWant:
    commit = hub.add(REPO, model_files())
    return HubModelWant(
        host="box",
        repo=REPO,
        revision=commit,
        cache=str(tmp_path / "cache"),
        endpoint=hub.endpoint,
        python=sys.executable,
    )


async def test_it_is_nothing_then_complete_then_left_alone(
    hub: StandInHub, host: Host, want: HubModelWant, said: list[str]
) -> None:
    operation = HubModel()
    assert await operation.observe(host, want) is None
    assert await operation.converge(host, want, want) == want
    assert any(line.startswith("downloading ") and line.endswith(" kB") for line in said)
    hub.asked.clear()
    assert await operation.converge(host, want, want) == want
    assert hub.asked == []


async def test_its_outputs_are_where_an_engine_finds_it(host: Host, want: HubModelWant) -> None:
    operation = HubModel()
    await operation.converge(host, want, want)
    outputs = await operation.outputs(host, want)
    assert set(outputs) == set(operation.output_names())
    assert outputs["commit"] == want.revision
    listed = await host.run(
        Command(argv=("find", "-L", outputs["path"], "-type", "f", "-printf", "%P\\n"), says="looking")
    )
    assert set(listed.stdout.split()) == NEEDED


async def test_a_file_deleted_by_hand_is_named_and_comes_back(host: Host, want: HubModelWant) -> None:
    operation = HubModel()
    await operation.converge(host, want, want)
    path = Path((await operation.outputs(host, want))["path"])
    await host.run(Command(argv=("rm", str(path / "config.json")), says="breaking it"))
    seen = await operation.observe(host, want)
    assert seen == want.model_copy(update={"missing": ["config.json"]})
    assert operation.differing(want, seen) == ["missing[0]"]
    await operation.converge(host, want, want)
    await host.run(Command(argv=("test", "-s", str(path / "config.json")), says="looking"))


async def test_deleting_keeps_the_download(host: Host, want: HubModelWant) -> None:
    operation = HubModel()
    await operation.converge(host, want, want)
    await operation.converge(host, None, want)
    assert await operation.observe(host, want) == want


async def test_a_python_that_is_gone_does_not_hide_what_is_there(
    host: Host, want: HubModelWant, tmp_path: Path
) -> None:
    gone = want.model_copy(update={"python": str(tmp_path / "environment/bin/python")})
    operation = HubModel()
    assert await operation.converge(host, gone, gone) == gone


REFUSALS = {
    "repo": ({"repo": "org/none"}, "has no such model"),
    "revision": ({"revision": "f" * 40}, "no such revision"),
    "gated": ({"repo": "org/gated", "revision": "main"}, "declare a token"),
    "token": ({"token": "hf_wrong"}, "does not know this token"),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_refusal_says_where_and_what_to_do(hub: StandInHub, host: Host, want: HubModelWant, kind: str) -> None:
    change, says = REFUSALS[kind]
    hub.add("org/gated", model_files(), gated=True)
    wrong = want.model_copy(update=change)
    with pytest.raises(DownloadFailed, match=says) as failed:
        await HubModel().converge(host, wrong, wrong)
    assert failed.value.kind == kind
    assert str(failed.value).startswith(f"box: {wrong.repo} at {wrong.revision}: ")


async def test_the_token_opens_a_gated_model(hub: StandInHub, host: Host, want: HubModelWant, said: list[str]) -> None:
    hub.add(REPO, model_files(), gated=True)
    hub.granted.add(TOKEN)
    with_token = want.model_copy(update={"token": TOKEN})
    assert await HubModel().converge(host, with_token, with_token) == with_token
    assert TOKEN not in "\n".join(said)


def test_the_command_carries_the_token_as_input_alone(want: HubModelWant) -> None:
    with_token = want.model_copy(update={"token": TOKEN})
    (command,) = HubModel().steps(with_token, None)
    assert command.stdin == TOKEN.encode()
    assert not any(TOKEN in part for part in command.argv)
    options = ("--repo", REPO, "--revision", want.revision, "--cache", want.cache, "--endpoint", want.endpoint)
    assert command.argv[-len(options) - 1 :] == ("download", *options)
    assert max(map(len, command.argv)) < 2**17, "one argument may have 128 KiB on Linux"


def test_nothing_wanted_is_nothing_to_do(want: HubModelWant) -> None:
    assert HubModel().steps(None, want) == []


@pytest.mark.parametrize("wrong", [{"repo": "org/"}, {"repo": "a/b/c"}, {"repo": "../x"}, {"revision": ""}])
def test_what_can_never_be_a_model_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        HubModelWant.model_validate({"host": "box", "repo": REPO, "revision": "main", **wrong})


def test_it_is_registered() -> None:
    assert isinstance(OPERATIONS["berth:model:HubModel"], HubModel)


@pytest.mark.systemd
def test_the_program_runs_with_the_python_of_a_bare_debian(systemd_machine: Machine) -> None:
    options = ("--repo", REPO, "--revision", "main", "--endpoint", "http://127.0.0.1:9", "--pause-s", "0.01")
    looked = systemd_machine.run(["python3", *program(), "look", *options])
    assert looked == (0, '{"path": "", "commit": "", "missing": null}\n', "")
    tried = systemd_machine.run(["python3", *program(), "download", *options], stdin=TOKEN)
    assert (tried.code, tried.err) == (STATUS["offline"], "")
    assert json.loads(tried.out.splitlines()[-1])["error"] == "offline"
