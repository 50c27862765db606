"""A dead engine fails requests soon; a planned replacement makes them wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from berth import gateway as berth_gateway

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy


@pytest.fixture
async def old(engines: Start) -> Any:
    return await engines("old")


@pytest.fixture
async def serving(gateway: Make, old: Any, model_of: Make) -> Any:
    """A gateway whose one model is served by the old engine."""
    one = gateway(model_of("tiny"))
    one.serve("tiny@main", old)
    return await one.start()


def is_unavailable(answer: Any) -> bool:
    return (
        answer.status_code == 503
        and answer.json()["error"]["code"] == "model_unavailable"
        and "tiny" in answer.json()["error"]["message"]
        and answer.headers["retry-after"] == "5"
        and answer.headers["content-type"] == "application/json"
    )


async def test_a_dead_engine_is_503_within_seconds_then_at_once(serving: Any, old: Any, record_property: Make):
    assert (await serving.chat("tiny")).status_code == 200
    await old.die()
    start = time.monotonic()
    first = await serving.chat("tiny")
    known = time.monotonic()
    second = await serving.chat("tiny")
    record_property("first_503_s", known - start)
    assert is_unavailable(first)
    assert is_unavailable(second)
    assert known - start < 6
    assert time.monotonic() - known < 1


async def test_a_model_whose_first_engine_is_not_ready_is_503_at_once(gateway: Make, model_of: Make):
    one = await gateway(model_of("tiny")).start()
    start = time.monotonic()
    assert is_unavailable(await one.chat("tiny"))
    assert time.monotonic() - start < 1


async def test_an_engine_that_comes_back_is_used_again(serving: Any, old: Any, eventually: Make):
    await old.die()
    assert is_unavailable(await serving.chat("tiny"))
    await old.start()

    async def answers() -> bool:
        return (await serving.chat("tiny")).status_code == 200

    await eventually(answers, "the engine answers again", 5)


async def test_an_engine_whose_health_says_no_leaves_and_returns(serving: Any, old: Any, eventually: Make):
    async def has(*addresses: tuple[str, int]) -> bool:
        return await serving.healthy("tiny@main") == set(addresses)

    old.healthy = False
    await eventually(has, "the engine leaves", 5)
    old.healthy = True
    await eventually(lambda: has(old.address), "the engine returns", 5)


async def test_every_request_waits_while_an_engine_is_replaced(
    serving: Any, old: Any, engines: Start, eventually: Make, record_property: Make
):
    """HELD, the old engine gone, RELEASING, SERVING: 40 requests and a running stream, no failure."""
    old.gap_s, old.chunks = 0.1, 20
    stream = asyncio.create_task(serving.chat("tiny", stream=True))
    await eventually(lambda: asyncio.sleep(0, old.requests), "the stream runs")

    serving.serve("tiny@main", held=True)
    await eventually(lambda: version_used(serving), "Envoy holds")
    asked = [asyncio.create_task(timed(serving.chat("tiny", pad="x" * 100_000))) for _ in range(40)]
    assert await running(serving) == 1, "the stream, and none of those that wait"
    assert (await stream).text.endswith("data: [DONE]\n\n")
    await eventually(lambda: idle(serving), "the old engine has nothing to do", 2)
    await old.die()
    new = await engines("new")
    new.healthy = False  # as an engine that listens and still loads

    serving.serve("tiny@main", new, held=True)
    await eventually(lambda: version_used(serving), "Envoy releases")
    assert await serving.healthy("tiny@main") == set()
    assert not any(task.done() for task in asked)
    new.healthy = True
    await eventually(lambda: healthy_is(serving, new), "the new engine is healthy", 5)
    released = time.monotonic()
    serving.serve("tiny@main", new)

    answers = await asyncio.gather(*asked)
    record_property("longest_after_release_s", max(end for _, end in answers) - released)
    assert [answer.status_code for answer, _ in answers] == [200] * 40
    assert all(answer.json()["choices"][0]["text"] == "new" for answer, _ in answers)
    assert max(end for _, end in answers) - released < 2
    assert len(new.requests) == 40


async def test_a_hold_bears_large_bodies_streams_and_a_port_that_accepts_and_resets(
    serving: Any, old: Any, eventually: Make, record_property: Make
):
    """As behind docker-proxy: while the container's engine loads, its port takes each connection and resets it."""
    serving.serve("tiny@main", held=True)
    await eventually(lambda: version_used(serving), "Envoy holds")
    await old.die()
    accepted = 0

    def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.transport.abort()

    proxy = await asyncio.start_server(reset, "127.0.0.1", old.port)
    body = "x" * (10 * 2**20)
    asked = [
        *(asyncio.create_task(timed(serving.chat("tiny", pad=body))) for _ in range(10)),
        *(asyncio.create_task(timed(serving.chat("tiny", stream=True))) for _ in range(10)),
        *(asyncio.create_task(timed(serving.chat("tiny"))) for _ in range(20)),
    ]
    serving.serve("tiny@main", old, held=True)  # RELEASING, before there is anybody to release to
    await eventually(lambda: asyncio.sleep(0, accepted > 2), "some health checks that are reset", 20)
    assert not any(task.done() for task in asked)
    proxy.close()
    await old.start()
    await eventually(lambda: healthy_is(serving, old), "the engine is healthy", 20)
    released = time.monotonic()
    serving.serve("tiny@main", old)
    answers = await asyncio.gather(*asked)
    record_property("resets", accepted)
    record_property("longest_after_release_s", max(end for _, end in answers) - released)
    assert [answer.status_code for answer, _ in answers] == [200] * 40
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer, _ in answers[10:20])
    assert len(old.requests) == 40, "nothing reached the port before, and nothing was asked twice"


async def test_a_release_is_complete_as_soon_as_the_engine_shows_as_healthy(
    serving: Any, old: Any, engines: Start, eventually: Make
):
    """SERVING may be written at once then: what the admin interface shows, the workers use."""
    for engine in (await engines("new"), old, await engines("third")):
        serving.serve("tiny@main", held=True)
        await eventually(lambda: serving.endpoints_used("tiny@main"), "Envoy holds")
        asked = [asyncio.create_task(timed(serving.chat("tiny"))) for _ in range(30)]
        await eventually(lambda: waiting(serving, 30), "all of them wait")
        start = time.monotonic()
        serving.serve("tiny@main", engine, held=True)
        await eventually(lambda shown=engine: healthy_is(serving, shown), "the engine is healthy", 1)
        serving.serve("tiny@main", engine)
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer, _ in answers} == {200}
        assert {answer.json()["choices"][0]["text"] for answer, _ in answers} == {engine.name}
        assert max(end for _, end in answers) - start < 2


async def waiting(gateway: Any, count: int) -> bool:
    name = "circuit_breakers.default.remaining_retries"
    return (await gateway.admin(f"/stats?filter=tiny@main.{name}")).text.split()[-1] == str(256 - count)


async def test_a_hold_that_lasts_too_long_ends_in_503(gateway: Make, model_of: Make, record_property: Make):
    one = gateway(model_of("tiny"), hold_limit_s=6)
    one.serve("tiny@main", held=True)
    await one.start()
    start = time.monotonic()
    answers = await asyncio.gather(*(timed(one.chat("tiny")) for _ in range(20)))
    waits = sorted(end - start for _, end in answers)
    record_property("waits_s", [waits[0], waits[-1]])
    assert all(is_unavailable(answer) for answer, _ in answers)
    assert waits[0] > 3
    assert waits[-1] < 10


async def test_more_requests_than_a_model_takes_are_429(serving: Any, eventually: Make):
    async with serving.client() as client:
        hanging = [
            asyncio.create_task(client.post("/v1/completions", json={"model": "tiny", "hang": True}))
            for _ in range(262)
        ]

        async def refused() -> list[Any]:
            done = [task.result() for task in hanging if task.done()]
            return done if len(done) == 262 - 256 else []

        answers = await eventually(refused, "six of them are refused")
        for answer in answers:
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "model_overloaded"
            assert answer.headers["retry-after"] == "5"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_more_requests_on_hold_than_a_model_takes_are_429(gateway: Make, engines: Start, model_of: Make):
    one = gateway(model_of("tiny"))
    one.serve("tiny@main", held=True)
    await one.start()
    async with one.client() as client:
        asked = [asyncio.create_task(client.post("/v1/completions", json={"model": "tiny"})) for _ in range(262)]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result().status_code for task in refused} == {429}
        one.serve("tiny@main", await engines("new"), held=True)
        statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert statuses.count(200) == 256
    assert statuses.count(429) == 6


async def test_an_engine_that_stays_silent_is_504(gateway: Make, old: Any, model_of: Make):
    one = gateway(model_of("tiny"), idle_timeout_s=1, hold_limit_s=60)
    one.serve("tiny@main", old)
    await one.start()
    start = time.monotonic()
    answer = await one.chat("tiny", hang=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "model_timeout")
    assert 0.5 < time.monotonic() - start < 5
    assert len(old.requests) == 1, "a generation must not be started twice"
    await asyncio.wait_for(old.requests[0].gone.wait(), 5)


async def test_an_engine_that_dies_during_a_request_is_503_and_nothing_is_asked_twice(
    serving: Any, old: Any, eventually: Make
):
    asked = asyncio.create_task(serving.chat("tiny", hang=True))
    await eventually(lambda: asyncio.sleep(0, old.requests), "the request arrives")
    await old.die()
    await old.start()
    assert is_unavailable(await asked)
    assert len(old.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_an_error_of_the_engine_itself_passes_unchanged(serving: Any, old: Any, status: int):
    old.answer_status = status
    answer = await serving.chat("tiny")
    assert answer.status_code == status
    assert answer.json()["choices"][0]["text"] == "old"
    assert len(old.requests) == 1


async def test_two_replicas_one_dead_no_request_fails(gateway: Make, engines: Start, model_of: Make):
    one = gateway(model_of("tiny"))
    engines_ = [await engines("a"), await engines("b")]
    one.serve("tiny@main", *engines_)
    await one.start()
    await engines_[0].die()
    answers = [await one.chat("tiny") for _ in range(30)]
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.soak
async def test_three_hundred_requests_over_a_gap_of_twelve_seconds_all_succeed(
    serving: Any, old: Any, engines: Start, eventually: Make, record_property: Make
):
    """Fifteen requests a second while the engine is away for twelve: as when a small model is loaded again."""
    asked = []
    started = time.monotonic()
    for number in range(300):
        asked.append(asyncio.create_task(timed(serving.chat("tiny"))))
        if number == 30:
            serving.serve("tiny@main", held=True)
            await eventually(lambda: serving.endpoints_used("tiny@main"), "Envoy holds")
            await eventually(lambda: idle(serving), "the old engine has nothing to do")
            await old.die()
        if number == 210:
            new = await engines("new")
            serving.serve("tiny@main", new, held=True)
        await asyncio.sleep(max(0.0, started + number / 15 - time.monotonic()))
    answers = await asyncio.gather(*asked)
    record_property("last_answer_s", max(end for _, end in answers) - started)
    assert {answer.status_code for answer, _ in answers} == {200}


@pytest.mark.soak
async def test_a_frozen_engine_leaves_in_half_a_minute_and_a_slow_one_stays(
    serving: Any, old: Any, eventually: Make, record_property: Make
):
    old.health_s = 10.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(eventually(lambda: healthy_is(serving), "the slow engine leaves", 60), 35)
    old.frozen = True
    start = time.monotonic()
    await eventually(lambda: healthy_is(serving), "the frozen engine leaves", 60)
    record_property("left_after_s", time.monotonic() - start)
    assert is_unavailable(await serving.chat("tiny"))


async def running(gateway: Any) -> int:
    return berth_gateway.running((await gateway.admin(berth_gateway.STATS_PATH)).json(), "tiny@main")


async def idle(gateway: Any) -> bool:
    return await running(gateway) == 0


async def timed(asked: Awaitable[Any]) -> tuple[Any, float]:
    answer = await asked
    return answer, time.monotonic()


async def healthy_is(gateway: Any, *engines: Any) -> bool:
    return await gateway.healthy("tiny@main") == {engine.address for engine in engines}


async def version_used(gateway: Any) -> bool:
    return await gateway.endpoints_used("tiny@main")
