"""The NVIDIA driver as packages on disk, its module built for the running kernel, and the drivers in its way off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want


class NvidiaDriverWant(Want):
    """A driver on disk; what is loaded is `LoadedDriver`'s.

    `branch` is such as 580, `version` an exact one such as 580.95.05 (empty: the newest of the branch when it is
    installed first). `packages` and `headers` are names of the package manager's, the headers those of `kernel`, which
    is the running one. `pinning` is the package that keeps apt on the branch, `stream` dnf's module stream
    (`nvidia-driver:580-open`); each is empty where there is none. `origin` is whose packages they are: they never mix.
    `dkms` says that the module is built there.

    `module` and `nouveau` are there to be observed: whether the module for `kernel` is on disk in the wanted version,
    and whether the drivers that would take the cards first are off, in the initramfs as well.
    """

    manager: Literal["apt", "dnf"]
    origin: Literal["nvidia", "ubuntu"] = "nvidia"
    branch: int
    version: str = Field(default="", pattern=r"^([0-9]+(\.[0-9]+)+)?$")
    flavour: Literal["open", "proprietary"]
    packages: list[str] = Field(min_length=1)
    pinning: str = ""
    stream: str = ""
    headers: list[str] = []
    kernel: str
    dkms: bool = True
    hold: bool = True
    initramfs: Literal["update-initramfs", "dracut"]
    module: Literal["installed", "missing", "not built", "other version"] = "installed"
    nouveau: Literal["off", "on"] = "off"
    on_destroy: Literal["keep", "remove"] = "keep"


class NvidiaDriver(FactOperation[NvidiaDriverWant]):
    """Declares a driver on disk."""

    kind = "berth:host:NvidiaDriver"
    wants = NvidiaDriverWant

    def identity(self, want: NvidiaDriverWant) -> str:
        """One for each host."""
        return f"{want.host}:nvidia-driver"

    def seen(self, facts: HostFacts, want: NvidiaDriverWant) -> NvidiaDriverWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: NvidiaDriverWant | None, have: NvidiaDriverWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
