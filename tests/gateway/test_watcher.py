"""The watcher beside a real Envoy: frozen engines leave the rotation and return, busy ones stay."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth import watcher as berth_watcher
from berth.gateway import endpoints
from berth.watcher.watch import PROGRESS

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy

QUICK = ("--still", "0.5", "--answer", "1")


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts watchers of gateways; returns where the log goes."""
    running: list[subprocess.Popen[bytes]] = []

    def start(one: Any, *flags: str, **more: Any) -> Path:
        program, log = tmp_path / "watch.py", tmp_path / "watcher.log"
        program.write_text(berth_watcher.PROGRAM)
        argv = berth_watcher.command(sys.executable, str(program), str(one.folder), one.plan.admin_port, **more)
        with log.open("ab") as out:
            running.append(subprocess.Popen([*argv, *flags], stdout=out, stderr=out))
        return log

    yield start
    for process in running:
        process.terminate()
        process.wait(5)


@pytest.fixture
async def engine(engines: Start) -> Any:
    return await engines("a")


@pytest.fixture
async def one(gateway: Make, engine: Any, model_of: Make) -> Any:
    """A gateway with one engine, and a model that has none yet."""
    made = gateway(model_of("tiny"), model_of("other"))
    made.serve("tiny@main", engine)
    return await made.start()


async def health(one: Any) -> tuple[int, Any]:
    answer = await one.get("/health", key=None)
    return answer.status_code, answer.json()


def says(one: Any, status: int, word: str, **models: str) -> Callable[[], Awaitable[bool]]:
    async def as_wanted() -> bool:
        return await health(one) == (status, {"status": word, "models": models})

    return as_wanted


async def is_unavailable(one: Any) -> bool:
    begin = time.monotonic()
    answer = await one.chat("tiny", pad="mine")
    fast = time.monotonic() - begin < 1
    return fast and answer.status_code == 503 and answer.headers["retry-after"] == "5"


async def answers(one: Any) -> bool:
    return (await one.chat("tiny", pad="mine")).status_code == 200


@pytest.mark.parametrize("how", ["stopped", "silent"])
async def test_a_frozen_engine_leaves_within_fifteen_seconds_and_returns_by_itself(
    one: Any, engine: Any, watch: Make, eventually: Make, *, how: str, record_property: Make
):
    """At the pace of production: with /health at 200 and no token, and accepting without a word."""
    log = watch(one)
    await eventually(says(one, 200, "degraded", tiny="up", other="down"), "the watcher has looked")
    begin = time.monotonic()
    setattr(engine, how, True)
    await eventually(says(one, 503, "down", tiny="frozen", other="down"), "the engine is out of rotation", 15)
    record_property("left_after_s", time.monotonic() - begin)
    assert await is_unavailable(one)
    assert "is frozen: nothing moved for" in log.read_text()
    setattr(engine, how, False)
    await eventually(lambda: answers(one), "the engine is back", 10)
    await eventually(says(one, 200, "degraded", tiny="up", other="down"), "it says so")
    assert "moves again" in log.read_text()


async def test_a_busy_engine_with_a_full_queue_stays(one: Any, engine: Any, watch: Make, eventually: Make):
    engine.gap_s = 0.1
    stream = asyncio.create_task(one.chat("tiny", stream=True, chunks=80))
    await eventually(lambda: asyncio.sleep(0, engine.requests), "the stream runs")
    engine.full = True
    log = watch(one, *QUICK)
    waiting = asyncio.create_task(one.chat("tiny"))
    answer = await stream
    assert answer.text.endswith("[DONE]\n\n")
    assert "frozen" not in log.read_text()
    assert await one.healthy("tiny@main") == {engine.address}
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_frozen_replica_leaves_its_work_to_the_other(
    gateway: Make, engines: Start, model_of: Make, watch: Make, eventually: Make
):
    one = gateway(model_of("tiny"))
    first, second = await engines("first"), await engines("second")
    one.serve("tiny@main", first, second)
    await one.start()
    watch(one, *QUICK)
    first.stopped = True
    await eventually(lambda: is_alone(one, second), "the frozen one is out", 10)
    found = [await one.chat("tiny") for _ in range(8)]
    assert {answer.json()["choices"][0]["text"] for answer in found} == {"second"}
    numbers = (await one.metrics("/engines")).text
    assert f'engine="127.0.0.1:{first.port}"}} 1' in next(
        line for line in numbers.splitlines() if line.startswith("berth_engine_frozen") and str(first.port) in line
    )
    first.stopped = False
    await eventually(lambda: are_both(one, first, second), "both are in", 10)


async def is_alone(one: Any, engine: Any) -> bool:
    return await one.healthy("tiny@main") == {engine.address}


async def are_both(one: Any, *engines: Any) -> bool:
    return await one.healthy("tiny@main") == {engine.address for engine in engines}


async def test_a_hold_works_beside_the_watcher_and_is_no_outage(
    one: Any, engine: Any, engines: Start, watch: Make, eventually: Make
):
    """A frozen engine is replaced as any other: HELD, RELEASING and SERVING are the provider's to write."""
    watch(one, *QUICK)
    engine.stopped = True
    await eventually(says(one, 503, "down", tiny="frozen", other="down"), "it is frozen", 10)
    one.serve("tiny@main", held=True)
    await eventually(lambda: one.endpoints_used("tiny@main"), "Envoy holds")
    await eventually(says(one, 200, "degraded", tiny="held", other="down"), "it says so")
    asked = [asyncio.create_task(one.chat("tiny")) for _ in range(5)]
    new = await engines("new")
    one.serve("tiny@main", new, held=True)
    await eventually(lambda: is_alone(one, new), "the new one is in")
    one.serve("tiny@main", new)
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_a_mark_that_was_written_over_comes_back_and_no_version_is_lost(
    one: Any, engine: Any, watch: Make, eventually: Make
):
    watch(one, *QUICK)
    engine.stopped = True
    await eventually(says(one, 503, "down", tiny="frozen", other="down"), "it is out", 10)
    one.serve("tiny@main", engine)
    path = one.folder / "endpoints" / "tiny@main.json"
    version = json.loads(path.read_text())["version_info"]
    await eventually(lambda: asyncio.sleep(0, "UNHEALTHY" in path.read_text()), "the mark is back", 5)
    assert json.loads(path.read_text())["version_info"] == version
    assert await one.endpoints_used("tiny@main"), "whoever waits for this version sees it"


async def test_a_dead_engine_is_down_and_not_frozen(one: Any, engine: Any, watch: Make, eventually: Make):
    log = watch(one, *QUICK)
    await eventually(says(one, 200, "degraded", tiny="up", other="down"), "the watcher has looked")
    await engine.die()
    await eventually(says(one, 503, "down", tiny="down", other="down"), "it is down", 10)
    assert "frozen" not in log.read_text()


async def test_an_engine_that_has_no_completions_is_asked_for_what_it_has(
    one: Any, engine: Any, watch: Make, eventually: Make
):
    """As one of embeddings: each kind of request is tried, and an engine that takes none stays in rotation."""
    log = watch(one, *QUICK)
    engine.answer_status = 404

    async def asked() -> bool:
        return {"/v1/completions", "/v1/embeddings", "/v1/chat/completions"} <= {it.path for it in engine.requests}

    await eventually(asked, "all are tried", 10)
    await eventually(lambda: asyncio.sleep(0, "left in rotation" in log.read_text()), "it is said", 5)
    engine.stopped = True
    with pytest.raises(pytest.fail.Exception):
        await eventually(lambda: asyncio.sleep(0, "is frozen" in log.read_text()), "it is taken for frozen", 4)


async def test_an_engine_that_shows_no_tokens_is_never_taken_for_frozen(
    one: Any, engine: Any, watch: Make, eventually: Make
):
    """It could as well have a long queue."""
    engine.shows_tokens, engine.full = False, True
    log = watch(one, *QUICK)
    await eventually(lambda: asyncio.sleep(0, "shows no numbers of tokens" in log.read_text()), "it is said", 5)
    with pytest.raises(pytest.fail.Exception):
        await eventually(lambda: asyncio.sleep(0, "is frozen" in log.read_text()), "it is taken for frozen", 4)


@pytest.mark.parametrize("engine", ["vllm-0.32.0"])
def test_the_numbers_of_a_real_engine_are_those_that_show_progress(engine: str):
    recorded = Path(__file__).parents[1] / "monitoring" / "recorded" / f"{engine}.txt"
    names = {match.group().partition("{")[0] for match in PROGRESS.finditer(recorded.read_text())}
    assert names == {
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
        "vllm:iteration_tokens_total_count",
        "vllm:iteration_tokens_total_sum",
        "vllm:kv_cache_usage_perc",
    }


async def test_who_starts_anew_believes_the_marks_until_an_engine_moves(
    one: Any, engine: Any, watch: Make, eventually: Make
):
    engine.stopped = True
    content = json.loads((one.folder / "endpoints" / "tiny@main.json").read_text())
    content["resources"][0]["endpoints"][0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY"
    one.write("endpoints/tiny@main.json", content)
    watch(one, *QUICK)
    await eventually(says(one, 503, "down", tiny="frozen", other="down"), "it is out at the first look", 3)
    engine.stopped = False
    await eventually(lambda: answers(one), "it is back", 10)


@pytest.mark.parametrize(
    "edited",
    [
        [],
        {"resources": [{"cluster_name": "mine", "endpoints": None}]},
        {"resources": [{"cluster_name": "mine", "endpoints": [{}]}]},
        {"resources": [{"cluster_name": "mine", "endpoints": [{"lb_endpoints": ["127.0.0.1"]}]}]},
    ],
    ids=["a list", "nothing", "a part left out", "text"],
)
async def test_a_file_that_was_edited_into_another_shape_keeps_nothing_else_from_being_watched(
    one: Any, engine: Any, watch: Make, eventually: Make, *, edited: Any
):
    one.write("endpoints/mine.json", edited)
    log = watch(one, *QUICK)
    await eventually(says(one, 200, "degraded", tiny="up", other="down"), "the watcher has looked")
    engine.stopped = True
    await eventually(says(one, 503, "down", tiny="frozen", other="down"), "it still looks", 10)
    assert "Traceback" not in log.read_text()


async def test_many_engines_are_no_more_than_envoy_takes(gateway: Make, model_of: Make, watch: Make, eventually: Make):
    """Its limit on the numbers' size is that of the models at the first start; what they have grows by itself."""
    one = gateway(model_of("tiny"))
    await one.start()
    watch(one, *QUICK)
    await eventually(says(one, 503, "down", tiny="down"), "the watcher has looked", 10)
    nobody = [(f"127.0.1.{number}", 9) for number in range(1, 61)]
    one.write("endpoints/tiny@main.json", endpoints("tiny@main", nobody, held=False))

    async def all_are_shown() -> bool:
        return (await one.metrics("/engines")).text.count("berth_engine_in_rotation{") == len(nobody)

    await eventually(all_are_shown, "each is shown", 10)


async def test_health_answers_without_a_watcher_and_says_that_nothing_is_known(one: Any):
    assert await health(one) == (200, {"status": "unknown", "models": {"tiny": "unknown", "other": "unknown"}})


async def test_a_revision_without_traffic_keeps_no_model_up(
    gateway: Make, engine: Any, model_of: Make, watch: Make, eventually: Make
):
    one = gateway(model_of("tiny", main=100, dark=0))
    one.serve("tiny@dark", engine)
    await one.start()
    watch(one, *QUICK)
    await eventually(says(one, 503, "down", tiny="down"), "the model is down", 10)
