"""Power limits of a host's cards, set again after every boot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want

Index = Annotated[str, Field(pattern=r"^[0-9]{1,3}$")]
Watts = Annotated[float, Field(gt=0, le=5000)]


class PowerLimitWant(Want):
    """`watts` by the card's index (nvidia-smi's).

    `unit` is there to be observed: the service that sets them again at boot.
    """

    watts: dict[Index, Watts] = Field(min_length=1)
    unit: Literal["as declared", "edited by hand", "missing", "not at boot"] = "as declared"
    on_destroy: Literal["keep", "remove"] = "remove"


class PowerLimit(FactOperation[PowerLimitWant]):
    """Declares power limits."""

    kind = "berth:host:PowerLimit"
    wants = PowerLimitWant

    def identity(self, want: PowerLimitWant) -> str:
        """One for each host."""
        return f"{want.host}:power-limit"

    def seen(self, facts: HostFacts, want: PowerLimitWant) -> PowerLimitWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: PowerLimitWant | None, have: PowerLimitWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
