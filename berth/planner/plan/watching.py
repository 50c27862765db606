"""What proves a model, and what watches it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SmokePlan:
    """What the proof asks of one model.

    `text`: the prompts as completions, the first as a streamed chat too; `image`: the same with an image beside the
    chat; `embedding` and `score`: what such models answer; `list`: only that the model is there.
    """

    model: str
    prompts: tuple[str, ...]
    timeout_s: float
    asks: Literal["text", "image", "embedding", "score", "list"] = "text"


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """The load that the proof puts on one model: `n` requests, `c` at a time; times in seconds.

    `success` is the least share that must be answered; None asks nothing of the other two.
    """

    model: str
    n: int
    c: int
    prompt: str
    max_tokens: int
    timeout_s: float
    within_s: float
    success: float
    ttft_s: float | None
    tokens_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class MonitorPlan:
    """One part of what watches a host, in a container that listens on loopback."""

    image: str
    port: int


@dataclass(frozen=True, kw_only=True)
class MonitoringPlan:
    """What watches the engines and the gateway of one host; `retention_s` is how long Prometheus keeps its numbers."""

    host: str
    gpu: MonitorPlan | None = None
    prometheus: MonitorPlan | None = None
    grafana: MonitorPlan | None = None
    retention_s: float = 0
