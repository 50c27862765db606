"""One JSON line per request, with what an owner wants to know and nothing that a thief wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy


@pytest.fixture
async def one(gateway: Make, engines: Start, model_of: Make) -> Any:
    """A gateway with one model and an alias."""
    made = gateway(model_of("org/tiny", "gpt-x"))
    engine = await engines("a")
    engine.gap_s = 0.1
    made.serve("org/tiny@main", engine)
    return await made.start()


async def line_of(one: Any, answer: Any) -> dict[str, Any]:
    return (await one.lines(lambda line: line["request_id"] == answer.headers["x-request-id"]))[0]


async def test_a_streamed_answer_is_logged_with_model_client_status_and_durations(one: Any):
    line = await line_of(one, await one.chat("gpt-x", key="bob", stream=True))
    assert line["client"] == "bob"
    assert (line["model"], line["asked"]) == ("org/tiny", "gpt-x")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 200)
    assert line["upstream"] == "org/tiny@main"
    assert line["attempts"] == 1
    assert 400 <= line["duration_ms"] < 3000
    assert line["first_byte_ms"] < 300
    assert line["stream_ms"] >= 400
    assert line["bytes_out"] > 500


async def test_the_path_is_logged_without_its_query_beside_the_route(one: Any):
    async with one.client() as client:
        answer = await client.post("/m/org/tiny/v1/completions?secret=1", json={})
    line = await line_of(one, answer)
    assert (line["path"], line["route"], line["model"]) == ("/v1/completions", "path org/tiny", "org/tiny")


async def test_refusals_are_logged_with_what_was_asked(one: Any):
    line = await line_of(one, await one.chat("nope"))
    assert (line["status"], line["asked"], line["model"], line["client"]) == (404, "nope", None, "alice")
    line = await line_of(one, await one.get("/v1/models", key=None))
    assert (line["status"], line["client"]) == (401, None)


async def test_every_line_has_the_same_fields_and_probes_have_none(one: Any):
    await one.get("/health", key=None)
    answer = await one.chat("gpt-x")
    await line_of(one, answer)
    lines = await one.lines(lambda line: "status" in line)
    assert all(line["path"] != "/health" for line in lines)
    assert {frozenset(line) for line in lines} == {frozenset(lines[0])}
    assert "authorization" not in str(lines).lower()
