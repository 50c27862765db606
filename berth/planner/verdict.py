"""What the planner says about memory: terms, a verdict, its reasons and what would change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from berth.catalogue.units import Bytes


class Verdict(StrEnum):
    """Whether something fits a card; `unknown` where a term is not known, which is never a refusal."""

    FITS = "fits"
    TIGHT = "tight"
    UNKNOWN = "unknown"
    DOES_NOT_FIT = "does not fit"

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of several; `fits` when there is none."""
        order = list(cls)
        return max(verdicts, key=order.index, default=cls.FITS)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One part of an engine's memory on one card; `source` says where its formula or number comes from."""

    name: str
    size: Bytes
    source: str


@dataclass(frozen=True, kw_only=True)
class ReplicaMemory:
    """The memory of one replica on each of its cards (all ranks alike, the largest is meant).

    `terms` add up to `used`; `budget` is what the engine is told it may use (share x total, or the sum of what it is
    given in bytes); `kv_tokens` is how many tokens the cache holds, `max_concurrency` how many requests of the declared
    context; `share` the fraction of the card's total; `smallest_share` the least that would satisfy the declaration.
    """

    terms: tuple[Term, ...]
    used: Bytes
    budget: Bytes
    available_kv: Bytes
    kv_tokens: int
    max_concurrency: float
    share: float
    smallest_share: float | None
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    least: Bytes = Bytes(0)  # what it surely holds once started: activations come and go
    needed_kv: Bytes = Bytes(0)  # KV cache that the declared context and concurrency need
    margin: Bytes = Bytes(0)  # room left over what must fit, in the tightest respect; may be negative


@dataclass(frozen=True, kw_only=True)
class CardVerdict:
    """One card of one host with everything that is placed on it. `free` may be negative."""

    host: str
    index: int
    model: str
    total: Bytes
    uses: tuple[tuple[str, Bytes], ...]
    free: Bytes
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
