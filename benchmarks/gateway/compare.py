"""Berth's gateway beside bare nginx and LiteLLM's proxy, in one run on one machine.

`.venv/bin/python benchmarks/gateway/compare.py` (needs Debian and two cores with nothing else to do). Each gateway has
one worker on the first core; upstream, load and this program share the second. What matters is therefore how many
requests a gateway answers for each second of its own CPU time; the plain rate is shown beside it, and can be bounded by
the second core. Where other work shares the machine, `chrt -f 20` before the command keeps it off for these minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import contestants
import measure
import programs
from contestants import Contestant

from tests.ports import free_port, free_ports

RATE = 500
SLOW_RATE = 20
"""For LiteLLM, which does not reach 500."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one gateway."""

    name: str
    rate: float
    per_core: float
    p50_ms: float
    p99_ms: float
    at: int
    events: float
    events_per_core: float
    memory_mib: float


@contextlib.contextmanager
def running(make: Callable[[], Contestant]) -> Iterator[Contestant]:
    """A gateway that answers, and that is gone afterwards."""
    one = make()
    try:
        _until_it_answers(one)
        yield one
    finally:
        one.stop()


def _until_it_answers(one: Contestant) -> None:
    for _ in range(600):
        assert one.process.poll() is None, f"{one.name} has ended"
        headers = {"Content-Type": "application/json", **one.headers}
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            asked = urllib.request.Request(one.url, measure.body(), headers)  # noqa: S310 -- one of ours, on loopback
            urllib.request.urlopen(asked, timeout=5).read()  # noqa: S310 -- as above
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.process.wait(0.2)
    raise TimeoutError(one.name)


def row(make: Callable[[int], Contestant], upstream: int, folder: Path, seconds: int) -> Row:
    """Measures one gateway: before the small answers, then, started anew, before the streams."""
    with running(lambda: make(upstream)) as one:
        slow = "LiteLLM" in one.name
        rate, per_core = measure.throughput(one, folder, seconds)
        at = SLOW_RATE if slow else RATE
        times = asyncio.run(measure.latency(one, at, 2 * seconds))
        memory = measure.memory_mib(one.process.pid)

    async def streams() -> tuple[float, float]:
        port = free_port()
        async with await measure.serve_streams(port):
            loop = asyncio.get_running_loop()
            manager = running(lambda: make(port))
            one = await loop.run_in_executor(None, manager.__enter__)
            try:
                return await measure.streaming(one, 8 if slow else 50, seconds)
            finally:
                await loop.run_in_executor(None, manager.__exit__, None, None, None)

    events, events_per_core = asyncio.run(streams())
    cut = statistics.quantiles(times, n=100)
    return Row(
        name=one.name,
        rate=rate,
        per_core=per_core,
        p50_ms=cut[49],
        p99_ms=cut[98],
        at=at,
        events=events,
        events_per_core=events_per_core,
        memory_mib=memory,
    )


def best(rounds: list[Row]) -> Row:
    """Each number where it was least disturbed: other work on the machine can only make it worse."""
    up = {name: max(getattr(one, name) for one in rounds) for name in ("rate", "per_core", "events", "events_per_core")}
    down = {name: min(getattr(one, name) for one in rounds) for name in ("p50_ms", "p99_ms", "memory_mib")}
    return replace(rounds[0], **up, **down)


def heading() -> None:
    """The names of the columns."""
    print(f"{'':44} {'requests/s':>10} {'per core':>9} {'p50 ms':>7} {'p99 ms':>7} {'at/s':>5}", end="")
    print(f" {'events/s':>9} {'per core':>9} {'MiB':>6}", flush=True)


def line(one: Row) -> None:
    """What was measured of one gateway."""
    print(f"{one.name:44} {one.rate:10.0f} {one.per_core:9.0f} {one.p50_ms:7.2f} {one.p99_ms:7.2f} {one.at:5}", end="")
    print(f" {one.events:9.0f} {one.events_per_core:9.0f} {one.memory_mib:6.0f}", flush=True)


def ratios(rows: list[Row]) -> None:
    """Each of ours beside the others."""
    nginx, lite = rows[0], next((one for one in rows if "LiteLLM" in one.name), None)
    for one in rows[1:]:
        if one is lite:
            continue
        said = f"{one.name}: {one.per_core / nginx.per_core:.2f} of nginx in requests per core, "
        said += f"{one.events_per_core / nginx.events_per_core:.2f} in streamed events, "
        said += f"p99 {one.p99_ms - nginx.p99_ms:+.2f} ms"
        if lite is not None:
            said += (
                f"; {one.per_core / lite.per_core:.0f} times LiteLLM, {one.events_per_core / lite.events_per_core:.0f} "
            )
            said += "times in streamed events"
        print(said)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="how long each measurement takes")
    parser.add_argument("--rounds", type=int, default=3, help="how often; the best number of each is taken")
    parser.add_argument("--without-litellm", action="store_true", help="its environment takes some minutes to make")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {int(contestants.OTHER_CORE)})
    programs.envoy()
    if not chosen.without_litellm:
        programs.litellm()
    with tempfile.TemporaryDirectory(prefix="berth-benchmark-") as name:
        folder = Path(name)
        port = free_port()
        upstream = contestants.upstream(folder, port)

        def berth(*, by_body: bool, everything: bool) -> Callable[[int], Contestant]:
            def make(engine: int) -> Contestant:
                first, second, third = free_ports(3)
                return contestants.berth(folder, (first, second, third), engine, by_body=by_body, everything=everything)

            return make

        makers: list[Callable[[int], Contestant]] = [
            lambda engine: contestants.bare_nginx(folder, free_port(), engine),
            berth(by_body=False, everything=False),
            berth(by_body=True, everything=False),
            berth(by_body=False, everything=True),
            berth(by_body=True, everything=True),
        ]
        if not chosen.without_litellm:
            makers.append(lambda engine: contestants.litellm(folder, free_port(), engine))
        try:
            heading()
            rounds: list[list[Row]] = []
            for _ in range(chosen.rounds):
                rounds.append([])
                for make in makers:
                    rounds[-1].append(row(make, port, folder, chosen.seconds))
                    line(rounds[-1][-1])
                print()
            rows = [best(list(each)) for each in zip(*rounds, strict=True)]
            print(f"the best of {chosen.rounds} rounds:")
            for each in rows:
                line(each)
            print()
            ratios(rows)
        finally:
            upstream.terminate()
            upstream.wait(5)


if __name__ == "__main__":
    main()
