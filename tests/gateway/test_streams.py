"""Streams and large bodies: nothing cut, nothing held back, nothing kept running for a client that has left."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import requests

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy

MIB = 2**20


@pytest.fixture
async def engine(engines: Start) -> Any:
    return await engines("a")


@pytest.fixture
async def one(gateway: Make, engine: Any, model_of: Make) -> Any:
    """A gateway with one model."""
    made = gateway(model_of("tiny"))
    made.serve("tiny@main", engine)
    return await made.start()


PATHS = ["/v1/chat/completions", "/m/tiny/v1/chat/completions"]


@pytest.mark.parametrize("path", PATHS)
async def test_each_chunk_arrives_when_the_engine_sends_it(one: Any, engine: Any, path: str):
    engine.gap_s = 0.2
    body = {"model": "tiny", "stream": True, "chunks": 6}
    async with one.client() as client, client.stream("POST", path, json=body) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        arrivals = [time.monotonic() async for line in answer.aiter_lines() if line.startswith("data: {")]
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert len(arrivals) == 6
    assert min(gaps) > 0.1, gaps
    assert max(gaps) < 0.5, gaps


async def test_a_stream_may_be_silent_longer_than_envoys_own_limit_of_15_seconds_for_a_whole_answer(
    one: Any, engine: Any
):
    engine.gap_s = 8.0
    async with one.client() as client:
        answer = await client.post(PATHS[0], json={"model": "tiny", "stream": True, "chunks": 2})
    assert answer.text.count("data: ") == 3
    assert answer.text.endswith("[DONE]\n\n")


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_a_stream_stops_the_engine(one: Any, engine: Any, path: str):
    engine.gap_s = 0.1
    body = {"model": "tiny", "stream": True, "chunks": 1000}
    async with one.client() as client, client.stream("POST", path, json=body) as answer:
        await anext(answer.aiter_bytes())
    await asyncio.wait_for(engine.requests[0].gone.wait(), 5)


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_before_the_answer_stops_the_engine(
    one: Any, engine: Any, path: str, eventually: Make
):
    async with one.client() as client:
        asked = asyncio.create_task(client.post(path, json={"model": "tiny", "hang": True}))
        await eventually(lambda: asyncio.sleep(0, engine.requests), "the request arrives")
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    await asyncio.wait_for(engine.requests[0].gone.wait(), 5)


async def test_a_client_that_leaves_a_hold_is_not_sent_to_the_engine_later(one: Any, engine: Any, eventually: Make):
    one.serve("tiny@main", held=True)
    await eventually(lambda: one.endpoints_used("tiny@main"), "Envoy holds")
    left = asyncio.create_task(one.chat("tiny", who="left"))
    stayed = asyncio.create_task(one.chat("tiny", who="stayed"))
    await eventually(lambda: retried(one), "both wait")
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    one.serve("tiny@main", engine, held=True)
    assert (await stayed).status_code == 200
    assert [request.json["who"] for request in engine.requests] == ["stayed"]


async def retried(one: Any) -> bool:
    stats = (await one.admin("/stats?filter=tiny.*upstream_rq_retry$")).text
    return int(stats.split()[-1]) > 4


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_of_ten_mib_passes(one: Any, engine: Any, path: str):
    body = json.dumps({"model": "tiny", "image": "x" * (10 * MIB)}).encode()
    async with one.client() as client:
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.json()["choices"][0]["message"]["content"] == f"a {len(body)}"
    assert engine.requests[0].body == body


async def test_a_body_of_unknown_length_passes(one: Any):
    async with one.client() as client:
        content = pieces(json.dumps({"model": "tiny", "image": "x" * (10 * MIB)}).encode())
        answer = await client.post(PATHS[0], content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_over_the_limit_is_413_by_its_announced_length(one: Any, engine: Any, path: str):
    answer = await asyncio.to_thread(post, one, path, b"x" * (33 * MIB))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert engine.requests == []


async def test_a_body_over_the_limit_is_413_without_an_announced_length(one: Any, engine: Any):
    content = json.dumps({"model": "tiny", "image": "x" * (33 * MIB)}).encode()
    parts = (content[start : start + MIB] for start in range(0, len(content), MIB))
    answer = await asyncio.to_thread(post, one, PATHS[0], parts)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert engine.requests == []


def post(one: Any, path: str, data: Any) -> requests.Response:
    """By a client that reads what comes while it still sends, as Envoy answers before it has the whole body."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {one.keys['alice']}"}
    return requests.post(one.url + path, data=data, headers=headers, timeout=30)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), MIB):
        yield content[start : start + MIB]


async def test_no_connection_idles_until_the_engine_closes_it(one: Any, eventually: Make):
    """Uvicorn closes after 5 s; a request that is sent at that moment would be lost."""
    async with one.client() as client:
        start = time.monotonic()
        await client.post(PATHS[0], json={"model": "tiny"})

    async def none_left() -> bool:
        return (await one.admin("/stats?filter=tiny@main.upstream_cx_active")).text.split()[-1] == "0"

    await eventually(none_left, "the connection is closed", 6)
    assert time.monotonic() - start < 4.9
