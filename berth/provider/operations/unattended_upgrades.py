"""What unattended upgrades leave alone: a new driver under a running engine breaks its next start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want

Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9^$.*+?()|_-]+$")]


class UnattendedUpgradesWant(Want):
    """Patterns that unattended-upgrades (apt) matches with the beginning of package names.

    There is nothing to declare where that package is not installed, and none is installed for it. dnf-automatic obeys
    versionlock, so that `Packages` with `hold` is enough there.
    """

    patterns: list[Pattern] = Field(
        default=["nvidia", "libnvidia", "cuda", "docker-ce", "containerd", "nvidia-container-toolkit"], min_length=1
    )
    on_destroy: Literal["keep", "remove"] = "keep"


class UnattendedUpgrades(FactOperation[UnattendedUpgradesWant]):
    """Declares what unattended upgrades leave alone."""

    kind = "berth:host:UnattendedUpgrades"
    wants = UnattendedUpgradesWant

    def identity(self, want: UnattendedUpgradesWant) -> str:
        """One for each host."""
        return f"{want.host}:unattended-upgrades"

    def seen(self, facts: HostFacts, want: UnattendedUpgradesWant) -> UnattendedUpgradesWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: UnattendedUpgradesWant | None, have: UnattendedUpgradesWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
