"""What must not be reachable, must not leak and must not be shared."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from berth import gateway as berth_gateway

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy


@pytest.fixture
async def engine(engines: Start) -> Any:
    return await engines("a")


@pytest.fixture
async def one(gateway: Make, engine: Any, model_of: Make) -> Any:
    """A gateway that is open to the network."""
    made = gateway(model_of("tiny"), bind="0.0.0.0")
    made.serve("tiny@main", engine)
    return await made.start()


def listening() -> dict[int, str]:
    """The listening TCP ports of this machine and the address of each, in the kernel's own notation."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {int(port, 16): address for address, port in ends}


async def test_only_the_door_listens_outside_of_loopback(one: Any):
    ports = listening()
    assert ports[one.plan.port] == "00000000"
    assert ports[one.plan.admin_port] == "0100007F"
    assert ports[one.plan.metrics_port] == "0100007F"


@pytest.mark.parametrize("path", ["/quitquitquit", "/runtime_modify?x=1", "/logging?level=debug", "/drain_listeners"])
async def test_the_admin_interface_changes_nothing(one: Any, path: str):
    assert (await one.admin(path, "POST")).status_code == 403


@pytest.mark.parametrize("path", ["/", "/listeners", "/certs", "/memory", "/heap_dump", "/help", "/server_infos"])
async def test_the_admin_interface_shows_only_what_berth_reads(one: Any, path: str):
    assert (await one.admin(path)).status_code == 403


@pytest.mark.parametrize("path", ["/metrics", "/stats/prometheus"])
async def test_the_metrics_are_prometheus_text(one: Any, path: str):
    await one.chat("tiny")
    answer = await one.metrics(path)
    assert answer.status_code == 200
    assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="tiny@main"} 1' in answer.text


@pytest.mark.parametrize("path", ["/", "/config_dump", "/quitquitquit", "/stats", "/clusters"])
async def test_the_metrics_listener_shows_nothing_else(one: Any, path: str):
    assert (await one.metrics(path)).status_code == 404


async def test_no_key_is_in_a_log_a_dump_or_the_process_list(one: Any, eventually: Make):
    for key in ("alice", "bob"):
        await one.chat("tiny", key=key)
        await one.get(f"/v1/models?api_key={one.keys[key]}", key=key)
    async with one.client(key=None) as client:
        await client.get("/v1/models", headers={"authorization": "Bearer sk-nearly-right"})
    refused = one.routes()
    refused["resources"][0]["virtual_hosts"][0]["domains"] = []
    one.write("routes.json", refused)

    async def rejected() -> bool:
        return "1" in (await one.admin("/stats?filter=rds.*update_rejected")).text

    await eventually(rejected, "the routes are refused")
    await one.lines(lambda line: line["status"] == 401)
    seen = [one.log.read_text(), one.errors.read_text()]
    seen += [(await one.admin(path)).text for path in ("/config_dump?include_eds", "/stats", "/clusters")]
    seen += of_process(one.process.pid)
    for secret in [*one.keys.values(), "sk-nearly-right"]:
        assert [text for text in seen if secret in text] == []


def of_process(pid: int) -> list[str]:
    return [Path(f"/proc/{pid}/{name}").read_bytes().decode() for name in ("cmdline", "environ")]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-envoy-upstream-rq-timeout-ms": "1"},
        {"x-envoy-upstream-rq-per-try-timeout-ms": "1"},
        {"x-envoy-retry-on": "5xx,retriable-status-codes", "x-envoy-max-retries": "5"},
        {"x-envoy-internal": "true", "x-envoy-retry-on": "5xx", "x-forwarded-for": "10.0.0.1"},
    ],
)
async def test_a_client_cannot_steer_envoy_by_headers(one: Any, engine: Any, headers: dict[str, str]):
    engine.answer_status = 500
    async with one.client() as client:
        answer = await client.post("/v1/completions", json={"model": "tiny"}, headers=headers)
    assert answer.status_code == 500
    assert len(engine.requests) == 1
    assert not set(engine.requests[0].headers) & (set(headers) - {"x-forwarded-for"})
    assert not any(name.startswith("x-envoy") for name in answer.headers)


async def test_a_header_with_an_underscore_is_dropped(one: Any, engine: Any):
    async with one.client() as client:
        await client.post("/v1/completions", json={"model": "tiny"}, headers={"x_client_id": "alice"})
    assert "x_client_id" not in engine.requests[0].headers


async def test_two_gateways_on_one_host_do_not_disturb_each_other(gateway: Make, engine: Any, model_of: Make):
    both = [gateway(model_of("tiny")) for _ in range(2)]
    for one in both:
        one.serve("tiny@main", engine)
    await asyncio.gather(*(one.start() for one in both))
    both[0].stop()
    assert (await both[1].chat("tiny")).status_code == 200


async def test_a_port_in_use_is_seen_in_the_published_state(one: Any, gateway: Make, model_of: Make, eventually: Make):
    """Envoy itself goes on without its door, so who starts it must ask whether the listeners were taken."""
    second = gateway(model_of("tiny"))
    second.plan = replace(second.plan, port=one.plan.port)
    second.write_all()
    second.spawn()
    want = json.loads((second.folder / "listeners.json").read_text())["version_info"]

    async def refused() -> Any:
        return await second.found(listeners=want)

    found = await eventually(refused, "the second gateway says that its port is taken")
    assert found.rejected == ("listeners",)
    assert found.waiting[1] == f"listeners: cannot bind '127.0.0.1:{one.plan.port}': Address already in use"


async def test_an_admin_port_in_use_ends_the_process(one: Any, gateway: Make, model_of: Make):
    second = gateway(model_of("tiny"))
    second.plan = replace(second.plan, admin_port=one.plan.admin_port)
    second.write_all()
    second.spawn()
    assert await asyncio.to_thread(second.process.wait, 10) != 0
    assert "Address already in use" in second.errors.read_text()


def test_the_flat_file_finds_a_mistake_that_the_bootstrap_hides(
    envoy: str, plan_of: Make, model_of: Make, tmp_path: Path
):
    plan, folder = plan_of(model_of("tiny")), str(tmp_path)
    parts = [
        berth_gateway.bootstrap(plan, folder),
        berth_gateway.listeners(plan, folder),
        berth_gateway.routes(plan),
        berth_gateway.clusters(plan, folder),
    ]
    assert validate(envoy, tmp_path, berth_gateway.flat_bootstrap(*parts)) == 0
    parts[2]["resources"][0]["virtual_hosts"][0]["domains"] = []
    assert validate(envoy, tmp_path, berth_gateway.flat_bootstrap(*parts)) == 1


def validate(envoy: str, folder: Path, flat: Any) -> int:
    path = folder / "flat.json"
    path.write_text(json.dumps(flat))
    argv = berth_gateway.validate_command(envoy, str(path))
    return subprocess.run(argv, check=False, capture_output=True).returncode
