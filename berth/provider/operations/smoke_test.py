"""The proof after a deployment: every model answers through the gateway, in full and in a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from berth.provider.asking import Asks, Client, Way
from berth.provider.command import Command
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.operation import Operation, Want
from berth.provider.ways import Pods, ways


class SmokeTestWant(Want):
    """What is asked: each model's prompts, through the gateway on `port` with `key` (empty when it is open).

    `asks` says of models that are no text models what they are asked for. On a cluster `pods` are asked, each of them.
    `after` holds whatever a change of which asks for a new proof: the engines' processes, the routes.
    """

    port: int
    pods: Pods | None = None
    key: str = Field(default="", repr=False)
    prompts: dict[str, list[str]]
    asks: dict[str, Asks] = {}
    timeout_s: float = 120
    after: dict[str, Any] = {}


class SmokeTest(Operation[SmokeTestWant]):
    """Declares that every model answers."""

    kind = "berth:serving:SmokeTest"
    wants = SmokeTestWant

    def identity(self, want: SmokeTestWant) -> str:
        """Who was asked."""
        return f"{want.host}:{want.port}{want.pods or ''}"

    async def observe(self, host: Host, want: SmokeTestWant) -> SmokeTestWant | None:
        """A proof stands until what it proved changes; an engine that restarted by itself is no such change."""
        del host
        return want

    def steps(self, want: SmokeTestWant | None, have: SmokeTestWant | None) -> Sequence[Command]:
        """Asking changes nothing on a host."""
        del want, have
        return []

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("results",)

    async def outputs(self, host: Host, want: SmokeTestWant) -> dict[str, Any]:
        """Asks all models at once; the results by model, times in milliseconds.

        Raises:
            ProviderError: at least one model did not answer as it must; each is named with what it answered.
        """
        async with ways(host, want.port, want.pods) as found:
            host.say(f"asking {', '.join(want.prompts)}")
            asked = [(way, model) for way in found for model in want.prompts]
            proofs = (asyncio.to_thread(_prove, way, want, model) for way, model in asked)
            answers = await asyncio.gather(*proofs, return_exceptions=True)
        problems = [
            f"smoke test of {model}{f' in pod {way.pod}' if way.pod else ''}: {answer}"
            for (way, model), answer in zip(asked, answers, strict=True)
            if isinstance(answer, BaseException)
        ]
        if problems:
            raise ProviderError("\n".join(problems))
        return {"results": {model: answer for (_, model), answer in zip(asked, answers, strict=True)}}

    async def converge(self, host: Host, want: SmokeTestWant | None, known: SmokeTestWant) -> SmokeTestWant | None:
        """The asking is done by `outputs`; there is nothing to make or remove."""
        del host, known
        return want


def _prove(way: Way, want: SmokeTestWant, model: str) -> dict[str, Any]:
    return Client(way, want.key, want.timeout_s).prove(model, want.prompts[model], want.asks.get(model, "text"))
