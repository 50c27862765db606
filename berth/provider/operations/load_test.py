"""The load proof after a deployment: so many requests at a time, and what must come of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from berth.provider.asking import Client, Streamed, Unsatisfied
from berth.provider.command import Command
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.operation import Operation, Want
from berth.provider.ways import Pods, ways

_SAY_EACH_S = 2.0
_SHOWN = 3
"""So many kinds of failure are quoted of one model."""


class Asked(BaseModel):
    """What is asked of one model: `n` streamed chats, `c` at a time; and what must come of them.

    `within_s` is for all of them, `timeout_s` for each; `success` is the least share of requests that must be answered;
    `ttft_ms` bounds the 95th percentile of the time to the first token, `tokens_per_s` is the least for all together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=1)
    c: int = Field(ge=1)
    prompt: str
    max_tokens: int = Field(default=64, ge=1)
    timeout_s: float = 120
    within_s: float = 600
    success: float = Field(default=1.0, ge=0, le=1)
    ttft_ms: float | None = None
    tokens_per_s: float | None = None


class LoadTestWant(Want):
    """The load for each model, one after the other, through the gateway on `port` with `key` (empty when it is open).

    On a cluster the first of `pods` is asked. `after` holds whatever a change of which asks for a new proof.
    """

    port: int
    pods: Pods | None = None
    key: str = Field(default="", repr=False)
    models: dict[str, Asked]
    after: dict[str, Any] = {}


class LoadTest(Operation[LoadTestWant]):
    """Declares that every model bears its load."""

    kind = "berth:serving:LoadTest"
    wants = LoadTestWant

    def identity(self, want: LoadTestWant) -> str:
        """Who was asked."""
        return f"{want.host}:{want.port}:load{want.pods or ''}"

    async def observe(self, host: Host, want: LoadTestWant) -> LoadTestWant | None:
        """A proof stands until what it proved changes."""
        del host
        return want

    def steps(self, want: LoadTestWant | None, have: LoadTestWant | None) -> Sequence[Command]:
        """Asking changes nothing on a host."""
        del want, have
        return []

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("results",)

    async def outputs(self, host: Host, want: LoadTestWant) -> dict[str, Any]:
        """Loads one model after the other, since models on one card would measure each other; results by model.

        Raises:
            ProviderError: a model did not reach what is declared; each is named with what was measured.
        """
        results, problems = {}, []
        async with ways(host, want.port, want.pods) as (way, *_):
            for model, asked in want.models.items():
                client = Client(way, want.key, asked.timeout_s)
                results[model] = found = await _load(host, client, model, asked)
                problems += [f"load test of {model}: {problem}" for problem in _short_of(asked, found)]
        if problems:
            raise ProviderError("\n".join(problems))
        return {"results": results}

    async def converge(self, host: Host, want: LoadTestWant | None, known: LoadTestWant) -> LoadTestWant | None:
        """The asking is done by `outputs`; there is nothing to make or remove."""
        del host, known
        return want


async def _load(host: Host, client: Client, model: str, asked: Asked) -> dict[str, Any]:
    """Asks from threads, as many as requests at a time; what is not asked within the limit is not answered."""
    begin = time.monotonic()
    answers: list[Streamed | str] = []

    def one() -> Streamed | str:
        if time.monotonic() - begin > asked.within_s:
            return f"not asked within the {asked.within_s:g} s for all"
        try:
            return client.stream(model, asked.prompt, asked.max_tokens)
        except Unsatisfied as unsatisfied:
            return str(unsatisfied)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=asked.c, thread_name_prefix="load") as pool:
        pending = {loop.run_in_executor(pool, one) for _ in range(asked.n)}
        while pending:
            done, pending = await asyncio.wait(pending, timeout=_SAY_EACH_S)
            answers += [one.result() for one in done]
            host.say(f"loading {model}: {len(answers)} of {asked.n} answered")
    return _measured(answers, time.monotonic() - begin)


def _measured(answers: Sequence[Streamed | str], took_s: float) -> dict[str, Any]:
    good = [answer for answer in answers if isinstance(answer, Streamed)]
    firsts = sorted(answer.ttft_s * 1000 for answer in good)
    failures = Counter(answer for answer in answers if isinstance(answer, str))
    return {
        "requests": len(answers),
        "answered": len(good),
        "ttft_ms_median": round(statistics.median(firsts), 1) if firsts else None,
        "ttft_ms_p95": round(firsts[min(len(firsts) - 1, int(0.95 * len(firsts)))], 1) if firsts else None,
        "tokens_per_s": round(sum(answer.tokens for answer in good) / took_s, 1),
        "took_s": round(took_s, 1),
        "failures": [f"{count} times: {text}" for text, count in failures.most_common(_SHOWN)],
    }


def _short_of(asked: Asked, found: dict[str, Any]) -> list[str]:
    """What was not reached: what is, what must be."""
    problems = []
    share = found["answered"] / found["requests"]
    if share < asked.success:
        said = "; ".join(found["failures"])
        problems.append(f"{share:.1%} of {found['requests']} requests answered, must be {asked.success:.1%}: {said}")
    if asked.ttft_ms is not None and (found["ttft_ms_p95"] or 0) > asked.ttft_ms:
        problems.append(f"time to first token is {found['ttft_ms_p95']} ms (p95), must be {asked.ttft_ms:g} or less")
    if asked.tokens_per_s is not None and found["tokens_per_s"] < asked.tokens_per_s:
        problems.append(f"{found['tokens_per_s']} tokens per second, must be {asked.tokens_per_s:g} or more")
    return problems
