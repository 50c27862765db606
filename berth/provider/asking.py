"""Asks an OpenAI-compatible gateway as a client does, for the proofs after a deployment."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

import requests

from berth.provider.http import session

Asks = Literal["text", "image", "embedding", "score", "list"]
"""What a model is asked for; `list` only that it is there."""

_MAX_TOKENS = 16
_SIDE = 64
"""Pixels of the image's side: no vision model's patch is larger."""


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


@dataclass(frozen=True, kw_only=True)
class Way:
    """How something is reached that speaks OpenAI's API; `url` ends in /v1.

    `pod` is the pod behind it, on a cluster. There the key travels in a header of its own: an API server takes the
    usual one for itself.
    """

    url: str
    pod: str = ""
    open: Callable[[], requests.Session] = session

    def headers(self, key: str) -> dict[str, str]:
        """What carries a key there; nothing where none is asked."""
        if not key:
            return {}
        return {"x-api-key": key} if self.pod else {"Authorization": f"Bearer {key}"}

    def denied(self, answer: requests.Response) -> str:
        """What to do where the API server itself let nobody through to the pod; empty where it did not."""
        if not self.pod or answer.status_code != HTTPStatus.FORBIDDEN:
            return ""
        try:
            said = answer.json()
        except ValueError:
            return ""
        if not isinstance(said, dict) or said.get("kind") != "Status":
            return ""
        return (
            f"the API server lets nobody through to {self.pod} ({said.get('message')}); give the login `get` and "
            "`create` on pods/proxy"
        )


class Client:
    """Asks one gateway or engine; its methods block."""

    def __init__(self, way: Way, key: str, timeout_s: float) -> None:
        self._way = way
        self._timeout_s = timeout_s
        self._headers = way.headers(key)

    def prove(self, model: str, prompts: Sequence[str], asks: Asks = "text") -> dict[str, Any]:
        """The list of models, then what the model is for: completions and a streamed chat, a vector, a score.

        Raises:
            Unsatisfied: an answer is not what it must be.
        """
        listed = [str(item.get("id")) for item in _items(self._json("GET", "/models", None), "GET /v1/models")]
        if model not in listed:
            raise Unsatisfied(f"GET /v1/models does not list it; it lists {', '.join(listed) or 'nothing'}")
        return self.ask(model, prompts, asks)

    def ask(self, model: str, prompts: Sequence[str], asks: Asks) -> dict[str, Any]:
        """What the model is for, whether it is listed or not: some engines list the folder that it lies in.

        Raises:
            Unsatisfied: an answer is not what it must be.
        """
        match asks:
            case "list":
                return {"listed": True}
            case "embedding":
                return {"dimensions": self._dimensions(model, prompts)}
            case "score":
                return {"scores": self._scores(model, prompts)}
            case "text":
                return {"completion_tokens": self._complete(model, prompts), **self.stream(model, prompts[0]).shown()}
            case "image":
                seen: list[dict[str, Any]] = [
                    {"type": "image_url", "image_url": {"url": _image()}},
                    {"type": "text", "text": prompts[0]},
                ]
                return self.stream(model, seen).shown()

    def _complete(self, model: str, prompts: Sequence[str]) -> int:
        tokens = 0
        for prompt in prompts:
            body = {"model": model, "prompt": prompt, "max_tokens": _MAX_TOKENS}
            answer = self._json("POST", "/completions", body)
            tokens += self._tokens(answer, "POST /v1/completions")
        return tokens

    def _dimensions(self, model: str, prompts: Sequence[str]) -> int:
        answer = self._json("POST", "/embeddings", {"model": model, "input": list(prompts)})
        sizes = {len(item.get("embedding") or ()) for item in _items(answer, "POST /v1/embeddings")}
        if len(sizes) != 1 or 0 in sizes:
            raise Unsatisfied(f"POST /v1/embeddings answered without vectors of one size: {json.dumps(answer)[:300]}")
        return sizes.pop()

    def _scores(self, model: str, prompts: Sequence[str]) -> int:
        answer = self._json("POST", "/score", {"model": model, "text_1": prompts[0], "text_2": list(prompts)})
        found = [item.get("score") for item in _items(answer, "POST /v1/score")]
        if len(found) != len(prompts) or not all(isinstance(score, int | float) for score in found):
            raise Unsatisfied(f"POST /v1/score answered without a score for each: {json.dumps(answer)[:300]}")
        return len(found)

    def _tokens(self, answer: dict[str, Any], where: str) -> int:
        tokens = int((answer.get("usage") or {}).get("completion_tokens", 0))
        if not answer.get("choices") or tokens < 1:
            raise Unsatisfied(f"{where} answered without a token: {json.dumps(answer)[:300]}")
        return tokens

    def stream(self, model: str, content: str | list[dict[str, Any]], max_tokens: int = _MAX_TOKENS) -> Streamed:
        """A streamed chat; the content is a text, or OpenAI's list of parts.

        Raises:
            Unsatisfied: it was refused, or did not end as a stream must.
        """
        body = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
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
                    chunk = _object(line.removeprefix("data: "), "a chunk of the stream of POST /v1/chat/completions")
                    first = first or time.monotonic()
                    tokens = int((chunk.get("usage") or {}).get("completion_tokens", tokens))
        if not done or tokens < 1:
            end = "without [DONE]" if not done else "without a token"
            raise Unsatisfied(f"the stream of POST /v1/chat/completions ended {end}")
        return Streamed(ttft_s=first - begin, took_s=time.monotonic() - begin, tokens=tokens)

    def _json(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        with self._ask(method, path, body, stream=False) as answer:
            return _object(answer.text, f"{method} /v1{path}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, *, stream: bool) -> requests.Response:
        http = self._way.open()
        try:
            answer = http.request(
                method, self._way.url + path, json=body, headers=self._headers, timeout=self._timeout_s, stream=stream
            )
        except requests.RequestException as error:
            raise Unsatisfied(f"{method} /v1{path} got no answer: {error}") from error
        if not answer.ok:
            if why := self._way.denied(answer):
                raise Unsatisfied(f"{method} /v1{path}: {why}")
            raise Unsatisfied(f"{method} /v1{path} answered {answer.status_code}: {answer.text[:300]}")
        return answer


def _object(text: str, where: str) -> dict[str, Any]:
    """What was answered, as an object of JSON.

    Raises:
        Unsatisfied: it is none.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unsatisfied(
            f"{where} answered {text[:300]!r}, must be an object of JSON; see that nothing but the gateway or the "
            "engine listens on that port"
        )
    return value


def _items(answer: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The list of objects that an answer has as its `data`.

    Raises:
        Unsatisfied: it has none.
    """
    data = answer.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise Unsatisfied(
            f"{where} answered {json.dumps(answer)[:300]}, must have a list of objects as `data`; see that the engine "
            "serves what this model is for"
        )
    return data


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


def _image() -> str:
    """A small grey picture as a data URL, so that nothing has to be fetched from anywhere."""
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 0, 0, 0, 0)  # eight bits of grey, not interlaced
    rows = zlib.compress((b"\0" + bytes([128]) * _SIDE) * _SIDE)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", rows), _chunk(b"IEND", b"")]
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file (ISO 15948): its length, kind, content and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
