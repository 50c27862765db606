"""Changes of a running gateway: no restart, no failed request, no broken stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from berth import gateway as berth_gateway
from berth.planner.plan import KeyPlan

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy


@pytest.fixture
async def engine(engines: Start) -> Any:
    return await engines("a")


@pytest.fixture
async def one(gateway: Make, engine: Any, model_of: Make) -> Any:
    """A gateway with one model of two revisions, the second without traffic."""
    made = gateway(model_of("tiny", main=100, next=0))
    made.serve("tiny@main", engine)
    return await made.start()


async def test_a_stream_survives_every_kind_of_change(
    one: Any, engine: Any, engines: Start, model_of: Make, eventually: Make
):
    engine.gap_s = 0.1
    stream = asyncio.create_task(one.chat("tiny", stream=True, chunks=30))
    await eventually(lambda: asyncio.sleep(0, engine.requests), "the stream runs")
    listeners = (one.folder / "listeners.json").read_bytes()

    await one.publish(models=(model_of("tiny", "alias", main=100, next=0),))
    one.keys["carol"] = "sk-carol-0123456789abcdef0123456789abcd"
    await one.publish(keys=(KeyPlan(name="carol"),))
    one.serve("tiny@next", await engines("b"))
    await one.publish(models=(model_of("tiny", "alias", main=0, next=100),))
    other = await engines("c")
    one.serve("other@main", other)
    await one.publish(models=(model_of("tiny", concurrency=99, main=0, next=100), model_of("other")))
    one.serve("tiny@main", other)
    await eventually(lambda: one.endpoints_used("tiny@main"), "the new endpoint is used")
    await one.publish(models=(model_of("other"),))

    assert not stream.done(), "the changes took longer than the stream"
    answer = await stream
    assert answer.text.count("data: ") == 31
    assert answer.text.endswith("[DONE]\n\n")
    assert (one.folder / "listeners.json").read_bytes() == listeners
    assert (await one.chat("other", key="carol")).status_code == 200
    assert (await one.chat("tiny", key="carol")).status_code == 404
    stats = (await one.admin("/stats?filter=listener_manager.listener_(added|modified|removed)")).text
    assert sorted(line.split(": ") for line in stats.splitlines()) == [
        ["listener_manager.listener_added", "2"],
        ["listener_manager.listener_modified", "0"],
        ["listener_manager.listener_removed", "0"],
    ]


async def test_no_request_fails_while_models_come_and_go(one: Any, engines: Start, model_of: Make):
    """In the order that a publication keeps: clusters of both, routes, clusters of the new plan alone."""
    answers = []
    stop = asyncio.Event()

    async def ask() -> None:
        async with one.client() as client:
            while not stop.is_set():
                answers.append((await client.post("/v1/completions", json={"model": "tiny"})).status_code)

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    second = await engines("b")
    tiny = model_of("tiny", main=100, next=0)
    for _ in range(10):
        one.serve("second@main", second)
        await one.publish(models=(tiny, model_of("second")))
        assert (await one.chat("second")).status_code == 200
        await one.publish(models=(tiny,))
    stop.set()
    await asyncio.gather(*asking)
    assert len(answers) > 100
    assert set(answers) == {200}


async def test_a_refused_file_leaves_the_last_good_one_and_is_reported(one: Any, eventually: Make):
    before = berth_gateway.rejections((await one.admin(berth_gateway.STATS_PATH)).json())
    bad = one.routes()
    bad["version_info"] = "bad"
    bad["resources"][0]["virtual_hosts"][0]["domains"] = []
    one.write("routes.json", bad)

    async def seen() -> Any:
        dump, stats = await one.admin(berth_gateway.CONFIG_DUMP_PATH), await one.admin(berth_gateway.STATS_PATH)
        found = berth_gateway.published(dump.json(), stats.json(), routes="bad", before=before)
        return found if found.rejected else None

    found = await eventually(seen, "the rejection is seen")
    assert not found.active
    assert found.rejected == ("routes",)
    assert found.waiting[0].endswith("bad is wanted")
    assert (await one.chat("tiny")).status_code == 200
    await one.publish()
    assert (await one.chat("tiny")).status_code == 200


async def test_a_restart_reads_the_same_files(one: Any):
    one.stop()
    await one.start()
    assert (await one.chat("tiny")).status_code == 200


async def test_clusters_that_name_a_missing_endpoints_file_are_refused_whole(
    one: Any, engines: Start, model_of: Make, eventually: Make
):
    """Why whoever writes the clusters first writes an ABSENT file for each that has no endpoints yet."""
    models = (model_of("tiny", main=100, next=0), model_of("late"))
    early = berth_gateway.clusters(replace(one.plan, models=models), str(one.folder))
    one.write("clusters.json", early)

    async def refused() -> bool:
        return (await one.found(clusters=early["version_info"])).rejected == ("clusters",)

    await eventually(refused, "the clusters are refused")
    assert (await one.chat("tiny")).status_code == 200
    one.serve("late@main", await engines("b"))
    await one.publish(models=models)
    assert (await one.chat("late")).status_code == 200


async def test_an_edit_in_place_is_seen_by_nobody(one: Any):
    """Files must be renamed into place: the reason why the provider never edits them."""
    text = (one.folder / "routes.json").read_text()
    (one.folder / "routes.json").write_text(json.dumps({"resources": []}))
    assert (await one.chat("tiny")).status_code == 200
    (one.folder / "routes.json").write_text(text)


async def test_a_hundred_changes_break_none_of_fifty_streams(
    one: Any, engine: Any, model_of: Make, eventually: Make, record_property: Make
):
    """Routes, rights, limits, keys and clusters change all the time; who streams notices nothing."""
    engine.gap_s = 0.2
    async with one.client("alice", timeout=120) as client:
        body = {"model": "tiny", "messages": [], "stream": True, "chunks": 400}
        streams = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(50)]
        await eventually(lambda: asyncio.sleep(0, len(engine.requests) == 50), "all streams run")
        begin = time.monotonic()
        for number in range(100):
            keys = (
                KeyPlan(
                    name="alice", requests_per_minute=1000 + number, concurrent=100 + number if number % 3 else None
                ),
                KeyPlan(name="bob", models=("tiny",) if number % 2 else ()),
            )
            prefix = f"/tiny-{number}/"
            await one.publish(keys=keys, models=(model_of("tiny", path_prefix=prefix, main=100, next=0),))
            if number % 20 == 0:
                assert (await one.get(f"{prefix}v1/models")).status_code == 200
        record_property("changes_s", time.monotonic() - begin)
        assert not any(stream.done() for stream in streams), "the changes took longer than the streams"
        engine.hurry = True
        answers = await asyncio.gather(*streams)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.text.count("data: ") for answer in answers} == {401}
    assert all(answer.text.endswith("[DONE]\n\n") for answer in answers)
    stats = (await one.admin("/stats?filter=listener_manager.listener_modified")).text
    assert stats.split()[-1] == "0"
