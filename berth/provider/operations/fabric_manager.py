"""NVIDIA's fabric manager, without which the cards of an NVSwitch machine run no CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want


class FabricManagerWant(Want):
    """The fabric manager in exactly the driver's version; only for hosts whose facts say `nvswitch`.

    `packages` must have the driver's version, `companions` (nvlsm and the like on NVLink 5) have their own. `version`
    and `state` are there to be observed: the driver's own version or which other, and the service with the fabric.
    """

    manager: Literal["apt", "dnf"]
    packages: list[str] = Field(min_length=1)
    companions: list[str] = []
    hold: bool = True
    version: str = "the driver's"
    state: str = "running, fabric completed"
    on_destroy: Literal["keep", "remove"] = "keep"


class FabricManager(FactOperation[FabricManagerWant]):
    """Declares the fabric manager."""

    kind = "berth:host:FabricManager"
    wants = FabricManagerWant

    def identity(self, want: FabricManagerWant) -> str:
        """One for each host."""
        return f"{want.host}:fabric-manager"

    def seen(self, facts: HostFacts, want: FabricManagerWant) -> FabricManagerWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: FabricManagerWant | None, have: FabricManagerWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
