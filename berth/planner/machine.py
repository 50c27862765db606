"""One host with all that decides what it needs, as the modules on prerequisites hand it to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from berth.catalogue.gpus import Gpu
from berth.catalogue.operating_systems import System
from berth.facts import HostFacts
from berth.spec.hosts import Host


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One host with all that decides what it needs: what is declared, what was found, which cards it has."""

    name: str
    host: Host
    facts: HostFacts
    system: System
    cards: Mapping[int, Gpu | None]

    @property
    def where(self) -> str:
        """The place in the stack file."""
        return f"hosts.{self.name}.prerequisites"

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The kinds of its cards, each once."""
        return tuple({gpu.id: gpu for gpu in self.cards.values() if gpu is not None}.values())
