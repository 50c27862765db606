"""Who may ask: keys, their names, and what a client cannot make up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from berth.planner.plan import KeyPlan

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy


@pytest.fixture
async def engine(engines: Start) -> Any:
    return await engines("a")


@pytest.fixture
async def closed(gateway: Make, engine: Any, model_of: Make) -> Any:
    """A gateway that asks for a key."""
    one = gateway(model_of("tiny"))
    one.serve("tiny@main", engine)
    return await one.start()


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic YTpi"}])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/completions", "/m/tiny/v1/completions", "/no-such-path"])
async def test_without_a_valid_key_everything_is_401(closed: Any, engine: Any, headers: dict[str, str], path: str):
    async with closed.client(key=None) as client:
        answer = await client.post(path, json={"model": "tiny"}, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (401, "invalid_request_error", "invalid_api_key")
    assert answer.headers["content-type"] == "application/json"
    assert engine.requests == []


async def test_a_key_in_the_query_is_no_key(closed: Any):
    assert (await closed.get(f"/v1/models?key={closed.keys['alice']}", key=None)).status_code == 401


@pytest.mark.parametrize("client", ["alice", "bob"])
async def test_the_engine_learns_the_name_of_the_key_and_never_the_key(closed: Any, engine: Any, client: str):
    assert (await closed.chat("tiny", key=client)).status_code == 200
    assert engine.requests[0].headers["x-client-id"] == client
    assert "authorization" not in engine.requests[0].headers
    assert not any(key in str(engine.requests[0].headers) for key in closed.keys.values())


async def test_a_key_may_come_in_the_header_of_anthropics_clients(closed: Any, engine: Any):
    async with closed.client(key=None) as client:
        answer = await client.post("/v1/messages", json={"model": "tiny"}, headers={"x-api-key": closed.keys["alice"]})
    assert answer.status_code == 200
    assert engine.requests[0].headers["x-client-id"] == "alice"
    assert "x-api-key" not in engine.requests[0].headers


async def test_a_client_cannot_take_the_name_of_another(closed: Any, engine: Any):
    async with closed.client("bob") as client:
        await client.post("/v1/completions", json={"model": "tiny"}, headers={"x-client-id": "alice"})
    assert engine.requests[0].headers["x-client-id"] == "bob"


async def test_a_wrong_key_is_refused_before_its_body_is_read(closed: Any):
    reader, writer = await asyncio.open_connection("127.0.0.1", closed.plan.port)
    head = (
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999999\r\n\r\n"
    )
    writer.write(head.encode() + b'{"model')
    line = await asyncio.wait_for(reader.readline(), 5)
    assert b" 401 " in line
    writer.close()


async def test_an_open_gateway_asks_for_no_key_and_believes_no_name(gateway: Make, engine: Any, model_of: Make):
    one = gateway(model_of("tiny"), open=True, keys=())
    one.serve("tiny@main", engine)
    await one.start()
    async with one.client(key=None) as client:
        body = {"model": "tiny"}
        answer = await client.post("/v1/completions", json=body, headers={"x-client-id": "alice"})
        assert answer.status_code == 200
        assert (await client.get("/v1/models")).status_code == 200
    assert "x-client-id" not in engine.requests[0].headers


async def test_keys_come_and_go_without_a_restart(closed: Any):
    closed.keys["carol"] = "sk-carol-0123456789abcdef0123456789abcd"
    assert (await closed.get("/v1/models", key="carol")).status_code == 401
    await closed.publish(keys=(KeyPlan(name="alice"), KeyPlan(name="carol")))
    assert (await closed.get("/v1/models", key="carol")).status_code == 200
    assert (await closed.get("/v1/models", key="alice")).status_code == 200
    assert (await closed.get("/v1/models", key="bob")).status_code == 401


async def test_a_changed_value_of_a_key_is_a_change(closed: Any):
    old = closed.keys["alice"]
    closed.keys["alice"] = "sk-alice-another-0123456789abcdef01234567"
    await closed.publish()
    assert (await closed.get("/v1/models", key="alice")).status_code == 200
    closed.keys["old"] = old
    assert (await closed.get("/v1/models", key="old")).status_code == 401


async def test_closing_an_open_gateway_and_opening_it_again_need_no_restart(closed: Any):
    await closed.publish(open=True)
    assert (await closed.get("/v1/models", key=None)).status_code == 200
    await closed.publish(open=False)
    assert (await closed.get("/v1/models", key=None)).status_code == 401
