"""The gateway's files on a real folder; Envoy itself meets them in tests/gateway and tests/e2e."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from berth import gateway
from berth.planner.plan import GatewayPlan
from berth.provider.command import Command
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operations.gateway_configuration import GatewayConfiguration, GatewayConfigurationWant
from tests.gateway.conftest import make_plan, model

CONFIGURATION = GatewayConfiguration()
KEYS = {"alice": "sk-alice-0123456789", "bob": "sk-bob-0123456789"}


@pytest.fixture
def envoy(tmp_path: Path) -> Path:
    """Says yes to every configuration, or no once `refuses` is there."""
    program = tmp_path / "envoy"
    program.write_text('#!/bin/sh\nif [ -e "${0%/*}/refuses" ]; then echo "bad route" >&2; exit 1; fi\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def plan() -> GatewayPlan:
    return make_plan(model("one"), model("two"))


def declared(plan: GatewayPlan, envoy: Path, keys: dict[str, str] = KEYS) -> GatewayConfigurationWant:
    folder = str(envoy.parent / "a b/gateway")
    return GatewayConfigurationWant(
        host="box",
        folder=folder,
        envoy=str(envoy),
        admin_port=plan.admin_port,
        bootstrap=gateway.bootstrap(plan, folder),
        listeners=gateway.listeners(plan, folder),
        clusters=gateway.clusters(plan, folder),
        routes=gateway.routes(plan),
        keys=keys,
    )


async def test_all_files_are_published_and_read_back_as_declared(
    host: Host, envoy: Path, plan: GatewayPlan, said: list[str]
) -> None:
    want = declared(plan, envoy)
    assert await CONFIGURATION.observe(host, want) is None
    await CONFIGURATION.converge(host, want, want)
    files = [path for path in Path(want.folder).rglob("*") if path.is_file()]
    holding = [path for path in files if KEYS["alice"] in path.read_text()]
    assert [path.name for path in holding] == ["routes.json"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    assert not [path for path in files if "staged" in path.name]
    said.clear()
    assert await CONFIGURATION.converge(host, want, want) == want
    assert said == []


async def test_keys_that_were_opened_to_others_are_named_and_closed(host: Host, envoy: Path, plan: GatewayPlan) -> None:
    want = declared(plan, envoy)
    await CONFIGURATION.converge(host, want, want)
    routes = Path(want.folder, "routes.json")
    routes.chmod(0o644)
    assert CONFIGURATION.differing(want, await CONFIGURATION.observe(host, want)) == ["mode"]
    await CONFIGURATION.converge(host, want, want)
    assert stat.S_IMODE(routes.stat().st_mode) == 0o600


async def test_routes_edited_by_hand_are_named_and_put_right(host: Host, envoy: Path, plan: GatewayPlan) -> None:
    want = declared(plan, envoy)
    await CONFIGURATION.converge(host, want, want)
    path = Path(want.folder, "routes.json")
    edited = json.loads(path.read_text())
    edited["resources"][0]["virtual_hosts"][0]["domains"] = ["elsewhere"]
    path.write_text(json.dumps(edited))
    differing = CONFIGURATION.differing(want, await CONFIGURATION.observe(host, want))
    assert "routes.resources[0].virtual_hosts[0].domains[0]" in differing
    await CONFIGURATION.converge(host, want, want)
    assert await CONFIGURATION.observe(host, want) == want


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resources": 5}', '{"resources": [{}]}'])
async def test_files_beyond_recognition_are_written_anew(host: Host, envoy: Path, plan: GatewayPlan, text: str) -> None:
    want = declared(plan, envoy)
    await CONFIGURATION.converge(host, want, want)
    for name in ("routes.json", "clusters.json"):
        Path(want.folder, name).write_text(text)
        await CONFIGURATION.converge(host, want, want)
        assert await CONFIGURATION.observe(host, want) == want


async def test_another_key_changes_the_routes_alone_and_is_in_no_argument(
    host: Host, envoy: Path, plan: GatewayPlan
) -> None:
    want = declared(plan, envoy)
    await CONFIGURATION.converge(host, want, want)
    other = declared(plan, envoy, {**KEYS, "alice": "sk-alice-another"})
    seen = await CONFIGURATION.observe(host, other)
    assert CONFIGURATION.differing(other, seen) == ["keys.alice"]
    (publish,) = CONFIGURATION.steps(other, seen)
    assert isinstance(publish, Command)
    assert not any("sk-alice" in argument for argument in publish.argv)
    await CONFIGURATION.converge(host, other, other)
    assert await CONFIGURATION.observe(host, other) == other


async def test_what_envoy_refuses_changes_nothing(host: Host, envoy: Path, plan: GatewayPlan) -> None:
    want = declared(plan, envoy)
    await CONFIGURATION.converge(host, want, want)
    before = {path: path.read_text() for path in Path(want.folder).rglob("*") if path.is_file()}
    (envoy.parent / "refuses").touch()
    fewer = declared(make_plan(model("one")), envoy)
    with pytest.raises(BadInput) as caught:
        await CONFIGURATION.converge(host, fewer, fewer)
    assert str(caught.value) == "gateway: Envoy refuses the configuration, nothing was changed:\nbad route"
    assert {path: path.read_text() for path in Path(want.folder).rglob("*") if path.is_file()} == before


async def test_two_clients_with_one_key_are_refused_by_their_names(host: Host, envoy: Path, plan: GatewayPlan) -> None:
    want = declared(plan, envoy, dict.fromkeys(KEYS, "sk-same"))
    with pytest.raises(BadInput) as caught:
        await CONFIGURATION.converge(host, want, want)
    assert "gateway.keys.bob: the same key as alice" in str(caught.value)
    assert "sk-same" not in str(caught.value)
    assert not Path(want.folder).exists()


async def test_a_model_that_goes_takes_its_endpoints_with_it(host: Host, envoy: Path, plan: GatewayPlan) -> None:
    want = declared(plan, envoy)
    await CONFIGURATION.converge(host, want, want)
    names = {
        cluster["name"]: Path(want.folder, gateway.endpoints_file(cluster["name"]))
        for cluster in want.clusters["resources"]
    }
    assert all(path.exists() for path in names.values())
    fewer = declared(make_plan(model("one")), envoy)
    await CONFIGURATION.converge(host, fewer, fewer)
    left = {cluster["name"] for cluster in fewer.clusters["resources"]}
    assert {name for name, path in names.items() if path.exists()} == left
    await CONFIGURATION.converge(host, None, fewer)
    assert not Path(want.folder).exists()
