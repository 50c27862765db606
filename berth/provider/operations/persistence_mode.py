"""Persistence mode: the driver keeps its cards awake without a client, after every boot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want


class PersistenceModeWant(Want):
    """nvidia-persistenced with persistence mode on.

    `drop_in`, `daemon` and `mode` are there to be observed: the drop-in that Berth writes, the daemon's unit, and what
    the cards say.
    """

    drop_in: Literal["as declared", "edited by hand", "missing"] = "as declared"
    daemon: Literal["running", "stopped", "not at boot", "missing"] = "running"
    mode: Literal["on", "off"] = "on"
    on_destroy: Literal["keep", "remove"] = "keep"


class PersistenceMode(FactOperation[PersistenceModeWant]):
    """Declares persistence mode of all cards of a host."""

    kind = "berth:host:PersistenceMode"
    wants = PersistenceModeWant

    def identity(self, want: PersistenceModeWant) -> str:
        """One for each host."""
        return f"{want.host}:persistence-mode"

    def seen(self, facts: HostFacts, want: PersistenceModeWant) -> PersistenceModeWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: PersistenceModeWant | None, have: PersistenceModeWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
