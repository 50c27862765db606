"""What a user reads after `make up`: where it answers, how to ask it, how to take it down."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_RANDOM = "answers nonsense, because its weights are random; the stack file shows how to serve a real model"


def summary(stack: str, outputs: Mapping[str, Any], nonsense: Sequence[str]) -> str:
    """The lines after a good update.

    Args:
        stack: the stack's name.
        outputs: its outputs: `url` ends in /v1, `models` are names that the gateway serves.
        nonsense: those models whose weights are random.
    """
    lines: list[str] = []
    url, models = outputs.get("url"), [str(name) for name in outputs.get("models") or ()]
    if url:
        lines.append(f"Gateway:  {url}")
    if models:
        lines.append(f"Models:   {', '.join(models)}")
    lines += [f"Note:     {name} {_RANDOM}" for name in nonsense if name in models]
    if url and models:
        lines += ["", "Ask it (paste the line, in this folder):", f"  {curl(stack, str(url), models[0])}"]
    own = "" if stack == "dev" else f" STACK={stack}"
    lines += [
        "",
        "Plain Pulumi in this shell:",
        "  source .berth/env",
        "",
        "Take it down:",
        f"  make down{own}",
    ]
    return "\n".join(lines) + "\n"


def curl(stack: str, url: str, model: str) -> str:
    """A line for any POSIX shell in the project's folder; it reads the key from the state, so that none is printed."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16})
    # The output is one JSON object of names and keys: the fourth part between quotation marks is the first key.
    key = f"$(pulumi stack output keys --show-secrets --stack {shlex.quote(stack)} | cut -d'\"' -f4)"
    return (
        f'. ./.berth/env && curl -sS {shlex.quote(f"{url}/chat/completions")} -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
