"""Asks an OpenAI-compatible gateway as a client does, for the proofs after a deployment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from berth.provider.http import session

_MAX_TOKENS = 16


class Unsatisfied(Exception):
    """A model's answer is not what it must be."""


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """One streamed answer: seconds until its first token and in all, and its tokens."""

    ttft_s: float
    took_s: float
    tokens: int

    def shown(self) -> dict[str, Any]:
        """As outputs name it, times in milliseconds."""
        return {
            "ttft_ms": round(self.ttft_s * 1000, 1),
            "streamed_tokens": self.tokens,
            "stream_ms": round(self.took_s * 1000, 1),
        }


class Client:
    """Asks one gateway; its methods block."""

    def __init__(self, url: str, key: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def prove(self, model: str, prompts: Sequence[str]) -> dict[str, Any]:
        """The list of models, a completion for each prompt, and a streamed chat with the first.

        Raises:
            Unsatisfied: an answer is not what it must be.
        """
        listed = [item["id"] for item in self._json("GET", "/models", None)["data"]]
        if model not in listed:
            raise Unsatisfied(f"GET /v1/models does not list it; it lists {', '.join(listed) or 'nothing'}")
        tokens = 0
        for prompt in prompts:
            body = {"model": model, "prompt": prompt, "max_tokens": _MAX_TOKENS}
            answer = self._json("POST", "/completions", body)
            tokens += self._tokens(answer, "POST /v1/completions")
        return {"completion_tokens": tokens, **self.stream(model, prompts[0]).shown()}

    def _tokens(self, answer: dict[str, Any], where: str) -> int:
        tokens = int((answer.get("usage") or {}).get("completion_tokens", 0))
        if not answer.get("choices") or tokens < 1:
            raise Unsatisfied(f"{where} answered without a token: {json.dumps(answer)[:300]}")
        return tokens

    def stream(self, model: str, prompt: str, max_tokens: int = _MAX_TOKENS) -> Streamed:
        """A streamed chat.

        Raises:
            Unsatisfied: it was refused, or did not end as a stream must.
        """
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        begin = time.monotonic()
        first = 0.0
        tokens = 0
        done = False
        with self._ask("POST", "/chat/completions", body, stream=True) as answer:
            for line in _lines(answer):
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    chunk = json.loads(line.removeprefix("data: "))
                    first = first or time.monotonic()
                    tokens = int((chunk.get("usage") or {}).get("completion_tokens", tokens))
        if not done or tokens < 1:
            end = "without [DONE]" if not done else "without a token"
            raise Unsatisfied(f"the stream of POST /v1/chat/completions ended {end}")
        return Streamed(ttft_s=first - begin, took_s=time.monotonic() - begin, tokens=tokens)

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
            raise Unsatisfied(f"{method} /v1{path} got no answer: {error}") from error
        if not answer.ok:
            raise Unsatisfied(f"{method} /v1{path} answered {answer.status_code}: {answer.text[:300]}")
        return answer


def _lines(answer: requests.Response) -> Iterator[str]:
    """The lines of a stream.

    Raises:
        Unsatisfied: it broke off.
    """
    try:
        for raw in answer.iter_lines():
            yield raw.decode()
    except requests.RequestException as error:
        raise Unsatisfied(f"the stream broke off: {error}") from error
