"""What is known about a host from the host itself, read live or recorded earlier, never assumed."""

from __future__ import annotations

from dataclasses import dataclass, field

from berth.catalogue.units import Bytes


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """One GPU as its driver reports it; `used_by_others` leaves out what this stack's own engines use."""

    index: int
    model: str
    total: Bytes
    used_by_others: Bytes = field(default_factory=Bytes)


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """One machine as it was observed; None where nothing was read."""

    cards: tuple[CardFacts, ...] = ()
    driver: str | None = None
