"""The NVIDIA driver in the kernel: the one that is on disk, after a reboot where there is no other way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want


class LoadedDriverWant(Want):
    """The driver that the kernel runs.

    `loaded` is what the stack says of the driver: its branch such as `580`, or its exact version. What is observed in
    the same words is the loaded version, `none` or `nouveau`; the branch or version as declared where the loaded
    one is of it and is the one on disk. `reboot` says whether the machine may be rebooted for it, `reboot_timeout_s`
    how long it is waited for.
    """

    loaded: str = Field(min_length=1)
    reboot: Literal["allowed", "refused"] = "refused"
    reboot_timeout_s: int = 900
    on_destroy: Literal["keep"] = "keep"


class LoadedDriver(FactOperation[LoadedDriverWant]):
    """Declares the driver in the kernel."""

    kind = "berth:host:LoadedDriver"
    wants = LoadedDriverWant

    def identity(self, want: LoadedDriverWant) -> str:
        """One for each host."""
        return f"{want.host}:loaded-driver"

    def seen(self, facts: HostFacts, want: LoadedDriverWant) -> LoadedDriverWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: LoadedDriverWant | None, have: LoadedDriverWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
