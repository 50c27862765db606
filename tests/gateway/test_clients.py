"""What each client may: its own models, its requests a minute, its requests at a time."""

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
async def two(gateway: Make, engines: Start, model_of: Make) -> Any:
    """Two models; alice may use the first alone, bob both."""
    keys = (KeyPlan(name="alice", models=("tiny",)), KeyPlan(name="bob"))
    one = gateway(model_of("tiny", "gpt-x"), model_of("big"), keys=keys)
    one.serve("tiny@main", await engines("tiny"))
    one.serve("big@main", await engines("big"))
    return await one.start()


@pytest.mark.parametrize("path", ["/v1/completions", "/m/big/v1/completions", "/m/big/v1/models", "/v1/models/big"])
async def test_a_model_that_a_key_may_not_use_does_not_exist_for_it(two: Any, path: str):
    for client, status in (("alice", 404), ("bob", 200)):
        async with two.client(client) as asking:
            method = "GET" if "models" in path else "POST"
            answer = await asking.request(method, path, json={"model": "big"})
        assert answer.status_code == status, answer.text
    error = (await two.chat("big", key="alice")).json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")
    assert error["message"] == "The model big does not exist, or this API key may not use it; served: tiny, gpt-x."


async def test_a_key_uses_its_own_models_by_all_their_names(two: Any):
    assert (await two.chat("tiny", key="alice")).status_code == 200
    assert (await two.chat("gpt-x", key="alice")).status_code == 200
    assert (await two.get("/m/tiny/v1/models", key="alice")).status_code == 200


async def test_each_key_lists_its_own_models(two: Any):
    for client, names in (("alice", ["tiny", "gpt-x"]), ("bob", ["tiny", "gpt-x", "big"])):
        listed = (await two.get("/v1/models", key=client)).json()
        assert [entry["id"] for entry in listed["data"]] == names


async def test_a_client_cannot_take_the_rights_of_another(two: Any):
    async with two.client("alice") as client:
        answer = await client.post("/v1/completions", json={"model": "big"}, headers={"x-client-id": "bob"})
    assert answer.status_code == 404


async def test_rights_come_and_go_without_a_restart(two: Any):
    await two.publish(keys=(KeyPlan(name="alice"), KeyPlan(name="bob", models=("tiny",))))
    assert (await two.chat("big", key="alice")).status_code == 200
    assert (await two.chat("big", key="bob")).status_code == 404
    await two.publish(keys=(KeyPlan(name="alice"), KeyPlan(name="bob")))
    assert (await two.chat("big", key="bob")).status_code == 200


async def test_more_requests_a_minute_than_a_key_may_send_are_429_before_their_body_is_read(
    gateway: Make, engines: Start, model_of: Make
):
    keys = (KeyPlan(name="alice", requests_per_minute=3), KeyPlan(name="bob"))
    one = gateway(model_of("tiny"), keys=keys)
    one.serve("tiny@main", await engines("a"))
    await one.start()
    assert [(await one.chat("tiny")).status_code for _ in range(3)] == [200] * 3
    answer = await one.chat("tiny")
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert (answer.headers["retry-after"], answer.headers["x-ratelimit-limit-requests"]) == ("20", "3")
    assert error["message"] == "This API key may send 3 requests a minute; try again later."
    reader, writer = await asyncio.open_connection("127.0.0.1", one.plan.port)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {one.keys['alice']}\r\n"
    writer.write(f"{head}content-type: application/json\r\ncontent-length: 999999\r\n\r\n{{".encode())
    assert b" 429 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert {(await one.chat("tiny", key="bob")).status_code for _ in range(10)} == {200}
    assert (await one.get("/health", key=None)).status_code == 200


async def test_a_changed_limit_needs_no_restart(gateway: Make, engines: Start, model_of: Make):
    one = gateway(model_of("tiny"), keys=(KeyPlan(name="alice", requests_per_minute=1),))
    one.serve("tiny@main", await engines("a"))
    await one.start()
    assert [(await one.chat("tiny")).status_code for _ in range(2)] == [200, 429]
    await one.publish(keys=(KeyPlan(name="alice", requests_per_minute=1000),))
    assert {(await one.chat("tiny")).status_code for _ in range(5)} == {200}
    await one.publish(keys=(KeyPlan(name="alice"),))
    answer = await one.chat("tiny")
    assert answer.status_code == 200
    assert "x-ratelimit-limit" not in answer.headers


@pytest.fixture
async def counted(gateway: Make, engines: Start, model_of: Make) -> Any:
    """A gateway where alice may have two requests at a time to each model and bob as many as he likes."""
    keys = (KeyPlan(name="alice", concurrent=2), KeyPlan(name="bob"))
    one = gateway(model_of("tiny"), model_of("big"), keys=keys)
    engine = await engines("a")
    one.serve("tiny@main", engine)
    one.serve("big@main", engine)
    await one.start()
    one.engine = engine
    return one


@pytest.mark.parametrize("path", ["/v1/completions", "/m/tiny/v1/completions"])
async def test_more_requests_at_a_time_than_a_key_may_have_are_429(counted: Any, eventually: Make, path: str):
    async with counted.client() as client:

        def ask(model: str = "tiny", **more: Any) -> Any:
            return client.post(path.replace("tiny", model), json={"model": model, **more})

        hanging = [asyncio.create_task(ask(hang=True)) for _ in range(2)]
        await eventually(lambda: asyncio.sleep(0, len(counted.engine.requests) == 2), "both are with the engine")
        answer = await ask()
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
        assert error["message"] == "This API key may have 2 requests at a time to the model tiny; wait for one of them."
        assert answer.headers["retry-after"] == "5"
        assert (await ask("big")).status_code == 200
        assert (await counted.chat("tiny", key="bob")).status_code == 200
        hanging[0].cancel()
        await asyncio.gather(hanging[0], return_exceptions=True)

        async def one_is_free() -> bool:
            return (await ask()).status_code == 200

        await eventually(one_is_free, "the place of the one that left is free", 5)
        hanging[1].cancel()
        await asyncio.gather(hanging[1], return_exceptions=True)


async def test_counted_clients_wait_for_a_replacement_as_others_do(counted: Any, eventually: Make, engines: Start):
    """Their clusters read the same endpoints file; HELD, RELEASING and SERVING are seen when all of them have."""
    counted.serve("tiny@main", held=True)
    await eventually(lambda: counted.endpoints_used("tiny@main"), "Envoy holds")
    asked = [asyncio.create_task(counted.chat("tiny", key=client)) for client in ("alice", "alice", "bob")]
    new = await engines("new")
    counted.serve("tiny@main", new, held=True)

    async def healthy() -> bool:
        return await counted.healthy("tiny@main") == {new.address}

    await eventually(healthy, "the new engine is healthy for all")
    counted.serve("tiny@main", new)
    answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.json()["choices"][0]["text"] for answer in answers} == {"new"}


@pytest.fixture
async def prefixed(gateway: Make, engines: Start, model_of: Make) -> Any:
    """Two models with path prefixes of their own; alice may use the first, twice at a time."""
    keys = (KeyPlan(name="alice", models=("tiny",), concurrent=1), KeyPlan(name="bob"))
    one = gateway(model_of("tiny", path_prefix="/tinyllama/"), model_of("big", path_prefix="/team.a/big/"), keys=keys)
    one.engines = {name: await engines(name) for name in ("tiny", "big")}
    for name, engine in one.engines.items():
        one.serve(f"{name}@main", engine)
    return await one.start()


@pytest.mark.parametrize("body", [{}, {"model": "tiny"}, {"model": "big"}])
async def test_a_path_prefix_leads_to_its_model_whatever_the_body_says(prefixed: Any, body: dict[str, str]):
    """What the body says besides is the engine's to check, which serves one model alone."""
    async with prefixed.client("alice") as client:
        answer = await client.post("/tinyllama/v1/completions?stream=no", json=body)
    assert answer.json()["choices"][0]["text"] == "tiny"
    (request,) = prefixed.engines["tiny"].requests
    assert request.path == "/v1/completions?stream=no"
    assert prefixed.engines["big"].requests == []


async def test_keys_rights_and_limits_hold_under_a_prefix(prefixed: Any, eventually: Make):
    async with prefixed.client("alice") as alice, prefixed.client(None) as nobody, prefixed.client("bob") as bob:
        assert (await nobody.post("/tinyllama/v1/completions", json={})).status_code == 401
        assert (await alice.post("/team.a/big/v1/completions", json={})).status_code == 404
        assert (await alice.get("/team.a/big/v1/models")).status_code == 404
        assert (await bob.post("/team.a/big/v1/completions", json={})).status_code == 200
        hanging = asyncio.create_task(alice.post("/tinyllama/v1/completions", json={"hang": True}))
        await eventually(lambda: asyncio.sleep(0, prefixed.engines["tiny"].requests), "the request arrives")
        answer = await alice.post("/tinyllama/v1/completions", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tinyllama/v1/models", 200),
        ("/tinyllama/v1/models/tiny", 200),
        ("/tinyllama/v1/models/big", 404),
        ("/tinyllama/health", 200),
        ("/m/tiny/health", 200),
        ("/tinyllama/metrics", 404),
        ("/tinyllama/v1/load_lora_adapter", 404),
        ("/tinyllama", 404),
        ("/tinyllamas/v1/models", 404),
        ("/teamXa/big/v1/models", 404),
    ],
)
async def test_under_a_prefix_are_the_paths_that_are_elsewhere_too(prefixed: Any, path: str, status: int):
    assert (await prefixed.get(path)).status_code == status


async def test_one_models_list_under_its_prefix(prefixed: Any):
    listed = (await prefixed.get("/team.a/big/v1/models", key="bob")).json()
    assert [entry["id"] for entry in listed["data"]] == ["big"]


async def test_requests_are_counted_by_client_model_and_status(prefixed: Any, eventually: Make):
    await prefixed.chat("tiny", key="alice")
    await prefixed.chat("tiny", key="bob")
    await prefixed.chat("nope", key="bob")
    await prefixed.get("/v1/models", key=None)
    text = (await prefixed.metrics("/metrics")).text
    lines = {line for line in text.splitlines() if line.startswith("envoy_berth_requests{")}
    assert lines == {
        'envoy_berth_requests{client="alice",model="tiny",status="200"} 1',
        'envoy_berth_requests{client="bob",model="tiny",status="200"} 1',
        'envoy_berth_requests{client="bob",model="",status="404"} 1',
        'envoy_berth_requests{client="",model="",status="401"} 1',
    }

    async def has_times() -> bool:  # Envoy sums these up every five seconds
        return 'envoy_berth_first_byte_bucket{model="tiny",le="' in (await prefixed.metrics("/metrics")).text

    await eventually(has_times, "the times are there", 12)
