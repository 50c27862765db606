"""The proof after a deployment: every model answers through the gateway, in full and in a stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import requests

from berth.provider.command import Command
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.http import session
from berth.provider.operation import Operation, Want

_MAX_TOKENS = 16


class SmokeTestWant(Want):
    """What is asked: each model's prompts, through the gateway on `port` with `key` (empty when it is open).

    `after` holds whatever a change of which asks for a new proof: the engines' processes, the routes.
    """

    port: int
    key: str = ""
    prompts: dict[str, list[str]]
    timeout_s: float = 120
    after: dict[str, Any] = {}


class SmokeTest(Operation[SmokeTestWant]):
    """Declares that every model answers."""

    kind = "berth:serving:SmokeTest"
    wants = SmokeTestWant

    def identity(self, want: SmokeTestWant) -> str:
        """The gateway that was asked."""
        return f"{want.host}:{want.port}"

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
        async with host.forward(want.port) as address:
            client = _Client(f"http://{address}/v1", want.key, want.timeout_s)
            host.say(f"asking {', '.join(want.prompts)}")
            answers = await asyncio.gather(
                *(asyncio.to_thread(client.prove, model, prompts) for model, prompts in want.prompts.items()),
                return_exceptions=True,
            )
        problems = [
            f"smoke test of {model}: {answer}"
            for model, answer in zip(want.prompts, answers, strict=True)
            if isinstance(answer, BaseException)
        ]
        if problems:
            raise ProviderError("\n".join(problems))
        return {"results": dict(zip(want.prompts, answers, strict=True))}

    async def converge(self, host: Host, want: SmokeTestWant | None, known: SmokeTestWant) -> SmokeTestWant | None:
        """The asking is done by `outputs`; there is nothing to make or remove."""
        del host, known
        return want


class _Unsatisfied(Exception):
    """A model's answer is not what it must be."""


class _Client:
    """Asks one gateway; its methods block."""

    def __init__(self, url: str, key: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def prove(self, model: str, prompts: Sequence[str]) -> dict[str, Any]:
        """The list of models, a completion for each prompt, and a streamed chat with the first."""
        listed = [item["id"] for item in self._json("GET", "/models", None)["data"]]
        if model not in listed:
            raise _Unsatisfied(f"GET /v1/models does not list it; it lists {', '.join(listed) or 'nothing'}")
        tokens = 0
        for prompt in prompts:
            body = {"model": model, "prompt": prompt, "max_tokens": _MAX_TOKENS}
            answer = self._json("POST", "/completions", body)
            tokens += self._tokens(answer, "POST /v1/completions")
        return {"completion_tokens": tokens, **self._stream(model, prompts[0])}

    def _tokens(self, answer: dict[str, Any], where: str) -> int:
        tokens = int((answer.get("usage") or {}).get("completion_tokens", 0))
        if not answer.get("choices") or tokens < 1:
            raise _Unsatisfied(f"{where} answered without a token: {json.dumps(answer)[:300]}")
        return tokens

    def _stream(self, model: str, prompt: str) -> dict[str, Any]:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": _MAX_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        begin = time.monotonic()
        first = 0.0
        tokens = 0
        done = False
        with self._ask("POST", "/chat/completions", body, stream=True) as answer:
            for raw in answer.iter_lines():
                line = raw.decode()
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    chunk = json.loads(line.removeprefix("data: "))
                    first = first or time.monotonic()
                    tokens = int((chunk.get("usage") or {}).get("completion_tokens", tokens))
        if not done or tokens < 1:
            end = "without [DONE]" if not done else "without a token"
            raise _Unsatisfied(f"the stream of POST /v1/chat/completions ended {end}")
        took = time.monotonic() - begin
        return {
            "ttft_ms": round((first - begin) * 1000, 1),
            "streamed_tokens": tokens,
            "stream_ms": round(took * 1000, 1),
        }

    def _json(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        with self._ask(method, path, body, stream=False) as answer:
            value: dict[str, Any] = answer.json()
            return value

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, *, stream: bool) -> requests.Response:
        http = session()
        try:
            answer = http.request(
                method, self._url + path, json=body, headers=self._headers, timeout=self._timeout_s, stream=stream
            )
        except requests.RequestException as error:
            raise _Unsatisfied(f"{method} /v1{path} got no answer: {error}") from error
        if not answer.ok:
            raise _Unsatisfied(f"{method} /v1{path} answered {answer.status_code}: {answer.text[:300]}")
        return answer
