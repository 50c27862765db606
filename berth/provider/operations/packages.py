"""Packages of the system's own package manager: installed in a version or branch, held there, or absent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import ABSENT, Manager, Name, Version, apt, broken, dnf, held, installed, satisfies
from berth.provider.packaging.running import run


class PackagesWant(Want):
    """Packages that belong together, installed in one run. `name` is the set's own, such as `docker`.

    `packages` maps a package to what is asked of it: `any` (installed, never upgraded), `absent`, a branch (`580.*`,
    with apt's epoch where there is one: `5:29.*`), or one version as the package manager writes it. Only one exact
    version may be a downgrade. `hold` keeps other upgrades away from those that are not absent (`apt-mark hold`,
    `dnf versionlock`); False takes holds off; None leaves them to the host's owner, and refuses to change what is held.
    `lock_wait_s` is how long another apt at work is waited for, in seconds.

    `broken` is there to be observed: packages anywhere on the host whose installation was interrupted, where something
    is to be installed, which they are in the way of.
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
        """Versions and holds; None where nothing of it is there and nothing is in its way."""
        found = installed(facts, want.packages)
        interrupted = broken(facts) if found != want.packages else []
        if not interrupted and set(found.values()) <= {ABSENT}:
            return want if found == want.packages else None
        there = {name for name in found if want.packages[name] != ABSENT}
        kept = set(held(facts, want.packages))
        hold = want.hold
        if want.hold is not None and kept != (there if want.hold else set()):
            hold = not want.hold
        return want.model_copy(update={"packages": found, "hold": hold, "broken": interrupted})

    def steps(self, want: PackagesWant | None, have: PackagesWant | None) -> Sequence[Command]:
        """Repairs what was interrupted, then one run for all that differ."""
        if want is None:
            return [] if have is None else _remove(have)
        there = {} if have is None else have.packages
        change = {name: asked for name, asked in want.packages.items() if _differs(there.get(name), asked)}
        kept = [name for name, asked in want.packages.items() if asked != ABSENT]
        hold = kept if want.hold and (change or have is None or not have.hold) else []
        freed = want.hold is False and have is not None and have.hold is True
        free = [name for name in kept if name in there] if freed or (want.hold and change) else []
        if want.manager == "dnf":
            return dnf.install(change, free=free, hold=hold) if change or hold or free else []
        repair = [apt.repair(have.broken, wait_s=want.lock_wait_s)] if have is not None and have.broken else []
        if not (change or hold or free):
            return repair
        return [*repair, *apt.install(change, free=free, hold=hold, wait_s=want.lock_wait_s)]

    async def preflight(self, host: Host, want: PackagesWant) -> None:
        """A host of the other kind, no way to become root, and holds of somebody else are seen beforehand."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        problems = list(_problems(facts, want))
        if problems:
            raise BadInput("\n".join(f"packages {want.name} on {host.name}: {problem}" for problem in problems))

    async def apply(self, host: Host, want: PackagesWant | None, have: PackagesWant | None) -> None:
        """Runs the steps and says what the package manager is at."""
        for command in self.steps(want, have):
            await run(host, command)


_HALF = re.compile(r"^(\S+) \(\S+\)$")


def _differs(found: str | None, asked: str) -> bool:
    """Whether a package must be changed; one that is only half there is not, once it is repaired."""
    if found is None:
        return asked != ABSENT
    half = _HALF.match(found)
    return not satisfies(half[1], asked) if half else found != asked


def _problems(facts: HostFacts, want: PackagesWant) -> list[str]:
    if facts.package_manager != want.manager:
        return [f"the host has {facts.package_manager or 'neither apt nor dnf'}, must have {want.manager}"]
    problems = []
    if not facts.root:
        problems.append("installing needs root, which this login cannot become; log in as root or allow it sudo")
    found = installed(facts, want.packages)
    theirs = [name for name in held(facts, want.packages) if found.get(name) != want.packages[name]]
    if want.hold is None and theirs:
        problems.append(
            f"held by somebody else: {', '.join(f'{name} at {found[name]}' for name in theirs)}; must be "
            f"{', '.join(want.packages[name] for name in theirs)}; take the hold off, or declare hold"
        )
    return problems


def _remove(have: PackagesWant) -> Sequence[Command]:
    there = {name: ABSENT for name, version in have.packages.items() if version != ABSENT}
    if not there:
        return []
    free = list(there) if have.hold else []
    if have.manager == "dnf":
        return dnf.install(there, free=free)
    return apt.install(there, free=free, wait_s=have.lock_wait_s)
