"""How a gateway ends and starts anew: streams finish, its log lies apart, a stop takes no longer than it needs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx
import pytest

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy


@pytest.fixture
async def engine(engines: Start) -> Any:
    return await engines("a")


@pytest.fixture
async def one(gateway: Make, engine: Any, model_of: Make) -> Any:
    made = gateway(model_of("tiny"))
    made.serve("tiny@main", engine)
    return await made.start()


async def ended(process: subprocess.Popen[bytes], limit_s: float) -> int:
    return await asyncio.wait_for(asyncio.to_thread(process.wait, limit_s), limit_s)


async def test_a_stop_lets_streams_finish_and_takes_no_new_requests(one: Any, engine: Any, eventually: Make):
    engine.gap_s = 0.1
    stream = asyncio.create_task(one.chat("tiny", stream=True, chunks=30))
    await eventually(lambda: asyncio.sleep(0, engine.requests), "the stream runs")
    one.process.terminate()

    async def is_closed() -> bool:
        try:
            await one.get("/v1/models")
        except httpx.ConnectError:
            return True
        return False

    await eventually(is_closed, "the door is closed", 2)
    assert not stream.done()
    answer = await stream
    assert answer.text.endswith("[DONE]\n\n")
    assert await ended(one.process, 5) == 0


async def test_a_stop_without_requests_takes_no_time_even_with_idle_connections(one: Any):
    async with one.client() as client:
        assert (await client.get("/v1/models")).status_code == 200
        begin = time.monotonic()
        one.process.terminate()
        assert await ended(one.process, 5) == 0
    assert time.monotonic() - begin < 2


async def test_a_stream_that_does_not_end_is_cut_at_the_limit(
    gateway: Make, engine: Any, model_of: Make, eventually: Make
):
    one = gateway(model_of("tiny"))
    one.serve("tiny@main", engine)
    await one.start(drain_s=1)
    hanging = asyncio.create_task(one.chat("tiny", hang=True))
    await eventually(lambda: asyncio.sleep(0, engine.requests), "the request hangs")
    begin = time.monotonic()
    one.process.terminate()
    assert await ended(one.process, 8) == 0
    assert 0.8 < time.monotonic() - begin < 4
    await asyncio.gather(hanging, return_exceptions=True)


async def test_the_access_log_has_a_file_of_its_own_that_others_cannot_read(
    gateway: Make, engine: Any, model_of: Make, eventually: Make
):
    one = gateway(model_of("tiny"))
    one.serve("tiny@main", engine)
    log = one.folder / "access.log"
    await one.start(access_log=str(log))
    assert (await one.chat("tiny")).status_code == 200
    await eventually(lambda: asyncio.sleep(0, log.stat().st_size), "a line is written")
    assert json.loads(log.read_text().splitlines()[0])["client"] == "alice"
    assert log.stat().st_mode & 0o777 == 0o600
    assert '"client"' not in one.log.read_text() + one.errors.read_text()


async def test_a_gateway_that_dies_ends_its_start_script(one: Any):
    """Its supervisor must see it, and start it anew."""
    one.kill_envoy()
    assert await ended(one.process, 5) != 0
