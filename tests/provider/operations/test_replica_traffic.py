"""A replica's place in the gateway's endpoints, on a real folder without a gateway."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from berth.gateway.endpoints import EndpointState, endpoints, state
from berth.provider.command import Command, Result
from berth.provider.connection import Connection
from berth.provider.errors import StartFailed
from berth.provider.replica import ReplicaWant
from berth.provider.supervision.secrets import secret_files
from tests.provider.operations.site import REPLICA, Site, configured


def routed(site: Site, name: str = "one") -> ReplicaWant:
    return site.replica(name, cluster="one@main", endpoints=f"{site.root}/gateway/eds/one.json")


async def traffic(site: Site, want: ReplicaWant) -> EndpointState:
    return state(json.loads(await site.sh('cat -- "$1"', want.endpoints)))


async def test_it_is_in_the_endpoints_while_it_serves_and_leaves_none_behind(supervised: Site) -> None:
    want = routed(supervised)
    await REPLICA.converge(supervised.host, want, want)
    assert await traffic(supervised, want) is EndpointState.SERVING
    changed = want.model_copy(update={"arguments": {"max_model_len": 9}})
    await REPLICA.converge(supervised.host, changed, changed)
    assert await traffic(supervised, want) is EndpointState.SERVING
    await REPLICA.converge(supervised.host, None, changed)
    assert await supervised.sh('ls -d "$1" 2> /dev/null || :', f"{supervised.root}/gateway/eds") == ""


async def test_taken_out_by_hand_it_is_brought_back_without_a_restart(supervised: Site) -> None:
    want = routed(supervised)
    await REPLICA.converge(supervised.host, want, want)
    pid = await supervised.pid(want)
    for text in (json.dumps(endpoints("one@main", [], held=False)), "{", "[5]"):
        await supervised.sh('printf %s "$2" > "$1"', want.endpoints, text)
        assert REPLICA.differing(want, await REPLICA.observe(supervised.host, want)) == ["traffic"]
        await REPLICA.converge(supervised.host, want, want)
        assert await traffic(supervised, want) is EndpointState.SERVING
        assert await supervised.pid(want) == pid


async def test_requests_wait_for_nobody_when_the_first_start_fails(supervised: Site) -> None:
    want = routed(supervised).model_copy(update={"variables": configured(fail="RuntimeError: no")})
    first = endpoints("one@main", [], held=False)
    await supervised.sh('mkdir -p "${1%/*}"; printf %s "$2" > "$1"', want.endpoints, json.dumps(first))
    with pytest.raises(StartFailed):
        await REPLICA.converge(supervised.host, want, want)
    assert await traffic(supervised, want) is EndpointState.ABSENT


async def test_after_a_failed_change_the_old_engine_has_its_requests_again(supervised: Site) -> None:
    want = routed(supervised)
    await REPLICA.converge(supervised.host, want, want)
    broken = want.model_copy(update={"variables": configured(fail="RuntimeError: no")})
    with pytest.raises(StartFailed):
        await REPLICA.converge(supervised.host, broken, broken)
    assert await traffic(supervised, want) is EndpointState.SERVING
    assert await REPLICA.observe(supervised.host, want) == want


@pytest.mark.parametrize("mode", ["600", "640"])
async def test_the_old_engine_comes_back_with_the_secrets_that_it_had(supervised: Site, mode: str) -> None:
    want = routed(supervised).model_copy(update={"secrets": {"MY_TOKEN": "first", "OTHER": "stays"}})
    await REPLICA.converge(supervised.host, want, want)
    await supervised.sh('chmod "$2" "$1/secrets/MY_TOKEN"', want.folder, mode)
    rotated = {"secrets": {"MY_TOKEN": "second"}, "variables": configured(fail="RuntimeError: no")}
    broken = want.model_copy(update=rotated)
    with pytest.raises(StartFailed, match="RuntimeError: no"):
        await REPLICA.converge(supervised.host, broken, broken)
    assert await traffic(supervised, want) is EndpointState.SERVING
    runs = await supervised.sh("tr '\\0' '\\n' < \"/proc/$1/environ\"", str(await supervised.pid(want)))
    assert {"MY_TOKEN=first", "OTHER=stays"} <= set(runs.splitlines())
    assert await supervised.sh('stat -c %a "$1/secrets/MY_TOKEN"', want.folder) == mode
    changed = want.model_copy(update={"secrets": {"MY_TOKEN": "third"}})
    await REPLICA.converge(supervised.host, changed, changed)
    assert await supervised.sh('grep -r . "$1"/secrets*', want.folder) == f"{want.folder}/secrets/MY_TOKEN:third"


async def test_what_a_dead_update_wrote_half_is_not_taken_for_the_secrets_of_before(supervised: Site) -> None:
    want = routed(supervised).model_copy(update={"secrets": {"MY_TOKEN": "first"}})
    await REPLICA.converge(supervised.host, want, want)
    for value in ("second", "third"):  # the update dies before it has written its definition
        for command in secret_files(want.name, want.folder, {"MY_TOKEN": value}):
            await supervised.host.run(command)
    rotated = {"secrets": {"MY_TOKEN": "fourth"}, "variables": configured(fail="RuntimeError: no")}
    broken = want.model_copy(update=rotated)
    with pytest.raises(StartFailed, match="RuntimeError: no"):
        await REPLICA.converge(supervised.host, broken, broken)
    assert await REPLICA.observe(supervised.host, want) == want


async def test_a_container_that_was_taken_over_comes_back_only_where_no_own_engine_has_served(supervised: Site) -> None:
    want = routed(supervised).model_copy(update={"instead_of": "berth-test-nobody-has-this"})
    heard = Listening(supervised.host.connection)
    host = replace(supervised.host, connection=heard)  # type: ignore[arg-type] # it is one for our purposes
    broken = want.model_copy(update={"variables": configured(fail="RuntimeError: no")})
    starts = f"starting container {want.instead_of}"
    with pytest.raises(StartFailed):
        await REPLICA.converge(host, broken, broken)
    assert heard.said.count(starts) == 1
    await REPLICA.converge(host, want, want)
    await supervised.sh('echo "exit 7" > "$1"', f"{want.environment}/bin/vllm")
    await supervised.sh('kill -9 "$1"', str(await supervised.pid(want)))
    for left in (EndpointState.SERVING, EndpointState.ABSENT):  # by the failure before
        assert await traffic(supervised, want) is left
        with pytest.raises(StartFailed):
            await REPLICA.converge(host, want, want)
    assert heard.said.count(starts) == 1


class Listening:
    """The connection of a site, which keeps what its commands say that they do."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self.said = connection, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def run(self, command: Command, *more: Any) -> Result:
        self.said.append(command.says)
        return await self._connection.run(command, *more)


async def test_when_the_old_engine_does_not_come_back_either_both_are_named_and_nobody_waits(
    supervised: Site,
) -> None:
    want = routed(supervised).model_copy(update={"device": "cuda"})
    await REPLICA.converge(supervised.host, want, want)
    broken = want.model_copy(update={"environment": f"{supervised.root}/gone"})
    await supervised.sh('echo "exit 7" > "$1"', f"{want.environment}/bin/vllm")
    heard = Listening(supervised.host.connection)
    host = replace(supervised.host, connection=heard)  # type: ignore[arg-type] # it is one for our purposes
    with pytest.raises(StartFailed, match=r"(?s)did not start.*one: the old engine does not come back either: .*"):
        await REPLICA.converge(host, broken, broken)
    assert await traffic(supervised, want) is EndpointState.ABSENT
    assert heard.said.count("one: waiting for the card's memory") == 2, "before each of the two starts"


async def test_files_of_another_version_are_written_while_the_engine_serves(supervised: Site) -> None:
    want = routed(supervised)
    await REPLICA.converge(supervised.host, want, want)
    pid = await supervised.pid(want)
    await supervised.sh('echo "# by hand" >> "$1/runner.sh"', want.folder)
    heard = Listening(supervised.host.connection)
    host = replace(supervised.host, connection=heard)  # type: ignore[arg-type] # it is one for our purposes
    assert await REPLICA.converge(host, want, want) == want
    assert await supervised.pid(want) == pid
    assert heard.said.count("telling the gateway about one@main") == 1, "it was not taken out, only confirmed"


async def test_two_of_one_revision_share_a_file_and_one_goes_alone(supervised: Site) -> None:
    one, two = routed(supervised, "one"), routed(supervised, "two")
    for want in (one, two):
        await REPLICA.converge(supervised.host, want, want)
    await REPLICA.converge(supervised.host, None, one)
    assert await traffic(supervised, two) is EndpointState.SERVING
    assert await REPLICA.observe(supervised.host, two) == two
