"""A replica's place in the gateway's endpoints, on a real folder without a gateway."""

from __future__ import annotations

import json

import pytest

from berth.gateway.endpoints import EndpointState, endpoints, state
from berth.provider.errors import StartFailed
from berth.provider.replica import ReplicaWant
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


async def test_two_of_one_revision_share_a_file_and_one_goes_alone(supervised: Site) -> None:
    one, two = routed(supervised, "one"), routed(supervised, "two")
    for want in (one, two):
        await REPLICA.converge(supervised.host, want, want)
    await REPLICA.converge(supervised.host, None, one)
    assert await traffic(supervised, two) is EndpointState.SERVING
    assert await REPLICA.observe(supervised.host, two) == two
