"""What each engine calls its numbers in each release: rows of `metrics.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

import yaml
from packaging.version import Version

from berth.planner.plan import Plan


class Measure(StrEnum):
    """A number that a serving engine has, in our words.

    Histograms: `first_token`, `inter_token`, `end_to_end`, `queue_time` (seconds). Gauges: `running`, `waiting`
    (requests), `kv_usage` (0 to 1). Counters: `prompt_tokens`, `generated_tokens`, `preemptions`.
    """

    FIRST_TOKEN = "first_token"  # noqa: S105 -- a token of a language model
    INTER_TOKEN = "inter_token"  # noqa: S105 -- as above
    END_TO_END = "end_to_end"
    QUEUE_TIME = "queue_time"
    RUNNING = "running"
    WAITING = "waiting"
    KV_USAGE = "kv_usage"
    PROMPT_TOKENS = "prompt_tokens"
    GENERATED_TOKENS = "generated_tokens"
    PREEMPTIONS = "preemptions"


HISTOGRAMS = frozenset({Measure.FIRST_TOKEN, Measure.INTER_TOKEN, Measure.END_TO_END, Measure.QUEUE_TIME})


def metric(engine: str, version: str, measure: Measure) -> str | None:
    """The name of a measure in a release of an engine; None where it has none."""
    found = None
    for row in _document()["engines"].get(engine, {}).get(measure.value, ()):
        if _holds(row, Version(version)):
            found = str(row["name"])
    return found


def names(plan: Plan, measure: Measure) -> tuple[str, ...]:
    """The names under which the engines of a plan report a measure, each once, in their order."""
    found = (metric(replica.engine.name, replica.engine.version, measure) for replica in plan.replicas)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def every(engine: str, version: str) -> Iterator[tuple[Measure, str]]:
    """All measures that a release of an engine has."""
    for measure in Measure:
        name = metric(engine, version, measure)
        if name is not None:
            yield measure, name


def _holds(row: dict[str, Any], version: Version) -> bool:
    since, until = row.get("since"), row.get("until")
    return (since is None or version >= Version(since)) and (until is None or version < Version(until))


@cache
def _document() -> dict[str, Any]:
    text = resources.files(__package__ or __name__).joinpath("metrics.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document
