"""Packages of the system's own package manager: installed in a version or branch, held there, or absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import Manager, Name, Version


class PackagesWant(Want):
    """Packages that belong together, installed in one run. `name` is the set's own, such as `docker`.

    `packages` maps a package to what is asked of it: `any` (installed, never upgraded), `absent`, a branch (`580.*`,
    with apt's epoch where there is one: `5:29.*`), or one version as the package manager writes it. Only one exact
    version may be a downgrade. `hold` keeps other upgrades away from those that are not absent (`apt-mark hold`,
    `dnf versionlock`); False takes holds off; None leaves them to the host's owner, and refuses to change what is held.
    `lock_wait_s` is how long another package manager at work is waited for, in seconds.

    `broken` is there to be observed: packages anywhere on the host whose installation was interrupted; as long as there
    are any, nothing can be installed.
    """

    manager: Manager
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    packages: dict[Name, Version] = Field(min_length=1)
    hold: bool | None = None
    broken: list[str] = []
    lock_wait_s: int = 600
    on_destroy: Literal["keep", "remove"] = "keep"


class Packages(FactOperation[PackagesWant]):
    """Declares packages."""

    kind = "berth:host:Packages"
    wants = PackagesWant
    replace = frozenset({"host", "name", "manager"})

    def identity(self, want: PackagesWant) -> str:
        """The set's name on its host."""
        return f"{want.host}:packages:{want.name}"

    def seen(self, facts: HostFacts, want: PackagesWant) -> PackagesWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: PackagesWant | None, have: PackagesWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
