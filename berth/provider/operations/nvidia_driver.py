"""The NVIDIA driver as packages on disk, its module built for the running kernel, and the drivers in its way off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider import nvidia_module as kernel
from berth.provider import nvidia_packages as nvidia
from berth.provider.command import Command, shell
from berth.provider.errors import BadInput, CommandFailed
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import ABSENT, ANY, Manager, Name, apt, broken, dnf, held, installed
from berth.provider.packaging.running import run
from berth.provider.secure_boot import enrolment
from berth.provider.unchangeable import refuse_unchangeable

_NOT_THERE = (
    "Unable to locate package",
    "Unable to find a match",
    "No match for argument",
    "no installation candidate",
)

# Resetting forgets the old stream without touching what is installed.
_STREAM = """
dnf -q -y module reset "${1%%:*}"
dnf -q -y module enable "$1"
"""


class NvidiaDriverWant(Want):
    """A driver on disk; what is loaded is `LoadedDriver`'s.

    `branch` is such as 580, `version` an exact one such as 580.95.05 (empty: what is there of the branch, else its
    newest). `packages` and `headers` are names of the package manager's, the headers those of `kernel`, which is the
    running one. `pinning` is the package that keeps apt on the branch, `stream` dnf's module stream (`nvidia-
    driver:580-open`); each is empty where there is none. `origin` is whose packages they are: they never mix. `dkms`
    says that the module is built there. `lock_wait_s` is how long another package manager is waited for, in seconds.

    To be observed are: `others`, installed packages of other versions or flavours; `broken`, packages whose
    installation was interrupted; `module`, whether the module for `kernel` is on disk in the wanted version; `nouveau`,
    whether the drivers that would take the cards first are off, in the initramfs as well.
    """

    manager: Manager
    origin: Literal["nvidia", "ubuntu", "debian"] = "nvidia"
    branch: int
    version: str = Field(default="", pattern=r"^([0-9]+(\.[0-9]+)+)?$")
    flavour: Literal["open", "proprietary"]
    packages: list[Name] = Field(min_length=1)
    pinning: Name | Literal[""] = ""
    stream: str = Field(default="", pattern=r"^([a-z0-9-]+:[a-z0-9-]+)?$")
    headers: list[Name] = []
    kernel: str
    dkms: bool = True
    hold: bool = True
    initramfs: Literal["update-initramfs", "dracut"]
    lock_wait_s: int = 600
    others: list[Name] = []
    broken: list[str] = []
    module: Literal["installed", "missing", "not built", "other version"] = "installed"
    nouveau: Literal["off", "on"] = "off"
    on_destroy: Literal["keep", "remove"] = "keep"

    def asks(self) -> dict[str, str]:
        """What is asked of each package."""
        return dict.fromkeys(self.packages, nvidia.asked(self.branch, self.version))


class NvidiaDriver(FactOperation[NvidiaDriverWant]):
    """Declares a driver on disk."""

    kind = "berth:host:NvidiaDriver"
    wants = NvidiaDriverWant
    replace = frozenset({"host", "manager"})

    def identity(self, want: NvidiaDriverWant) -> str:
        """One for each host."""
        return f"{want.host}:nvidia-driver"

    def seen(self, facts: HostFacts, want: NvidiaDriverWant) -> NvidiaDriverWant | None:
        """Packages, module and blacklist; None where neither packages nor a module are there.

        A whole driver of the wanted branch and flavour is as declared, whoever packaged it, and so is the one that a
        container was given.
        """
        if facts.guest:
            return self._given(facts, want)
        if nvidia.foreign(facts, want.origin) and nvidia.works(facts, want.branch, want.version, want.flavour):
            return want.model_copy(update={"kernel": facts.kernel})
        there = installed(facts, want.asks())
        others = nvidia.in_the_way(facts, want.branch, want.version, want.flavour, want.pinning)
        if not there and not others and facts.driver.installed is None:
            return None
        found = nvidia.version(facts, want.packages, want.branch, want.version)
        blacklist = facts.files.get(kernel.BLACKLIST)
        differs = bool(others) or there != want.asks()
        return want.model_copy(
            update={
                **({} if found is None else _named(found, want)),
                "origin": next(iter(nvidia.foreign(facts, want.origin).values()), want.origin),
                "flavour": facts.driver.flavour or want.flavour,
                "packages": [name for name, asked in want.asks().items() if there.get(name) == asked],
                "pinning": next(iter(nvidia.whole(facts, [want.pinning])), ""),
                "headers": nvidia.whole(facts, want.headers),
                "kernel": facts.kernel,
                "hold": _hold(facts, want),
                "others": [name for name in others if name not in want.packages],
                "broken": broken(facts) if differs else nvidia.interrupted(facts, _names(want)),
                "module": nvidia.module(facts, found, dkms=want.dkms),
                "nouveau": "off" if blacklist is not None and blacklist.content == kernel.SEALED else "on",
            }
        )

    def _given(self, facts: HostFacts, want: NvidiaDriverWant) -> NvidiaDriverWant | None:
        """The libraries that a container got with the machine's driver."""
        found = facts.driver.packages or facts.driver.loaded
        if found is None:
            return None
        fits = nvidia.fits(found, want.branch, want.version)
        return want.model_copy(update={"kernel": facts.kernel} if fits else _named(found, want))

    def steps(self, want: NvidiaDriverWant | None, have: NvidiaDriverWant | None) -> Sequence[Command]:
        """What came half, then headers and pin, then the driver in one run, its module, and the blacklist."""
        if want is None:
            return [] if have is None else _remove(have)
        if have is not None and not self.differing(want, have):
            return []
        commands = []
        if have is not None and have.broken:
            commands.append(apt.repair(have.broken, wait_s=want.lock_wait_s))
        before, driver = _before(want, have), _driver(want, have)
        commands += [*before, *driver]
        if before or _changes(want, have) or (have is not None and have.module != want.module):
            commands.append(kernel.build(want.kernel, want.version or str(want.branch), dkms=want.dkms))
        if have is None or have.nouveau != want.nouveau:
            commands += kernel.blacklist(want.initramfs)
        return commands

    async def preflight(self, host: Host, want: NvidiaDriverWant) -> None:
        """What a person must decide or do: another's packages, another installer, a kernel that is not the planned."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        is_there = "not there" if have is None else f"{have.version or have.branch} ({have.module})"
        problem = f"the NVIDIA driver is {is_there}, must be {want.version or want.branch}"
        refuse_unchangeable(facts, host.name, problem, systemd=False)
        problems = nvidia.problems(facts, want.origin, want.manager)
        if facts.kernel != want.kernel:
            problems.append(f"it runs kernel {facts.kernel}, was planned for {want.kernel}; run the same again")
        if problems:
            raise BadInput("\n".join(f"{host.name}: {problem}" for problem in problems))

    async def warnings(self, host: Host, want: NvidiaDriverWant) -> Sequence[str]:
        """That Secure Boot will want a person at the console, and that a loaded driver gets other files beside it."""
        facts = await host.facts()
        if facts.secure_boot == "enabled" and want.dkms and facts.driver.loaded is None:
            return [enrolment(facts, host.name)]
        have, loaded = self.seen(facts, want), facts.driver.loaded
        coming = nvidia.kept(facts, want.packages, want.branch, want.version)
        if have is None or loaded in {None, coming} or not _changes(want, have):
            return ()
        to = coming or f"the newest of branch {want.branch}"
        said = f"{host.name}: the driver on disk becomes {to} while {loaded} is loaded"
        return [f"{said}: until that is exchanged too, new processes on the cards fail"]

    async def outputs(self, host: Host, want: NvidiaDriverWant) -> dict[str, Any]:
        """`on_disk` is the driver's version there: what depends on it is looked at again when it changes."""
        del want
        driver = (await host.facts()).driver
        return {"on_disk": driver.installed or driver.packages or ""}

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("on_disk",)

    async def foreseen(self, host: Host, want: NvidiaDriverWant) -> dict[str, Any]:
        """A hold, or a blacklist, leaves the driver as it is."""
        have = await self.observe(host, want)
        return {} if have is None or _changes(want, have) else await self.outputs(host, want)

    async def apply(self, host: Host, want: NvidiaDriverWant | None, have: NvidiaDriverWant | None) -> None:
        """Runs the steps for the point release that is there, and says what the package manager is at."""
        exact = want
        if want is not None:
            version = nvidia.kept(await host.facts(), want.packages, want.branch, want.version)
            exact = want.model_copy(update={"version": version})
        for command in self.steps(exact, have):
            try:
                await run(host, command)
            except CommandFailed as failed:
                if want is None or not any(
                    sign in failed.output and name in failed.output for sign in _NOT_THERE for name in want.headers
                ):
                    raise
                hint = (
                    f"no repository has the headers of the running kernel {want.kernel} any more; install the newest "
                    "kernel with its headers, boot it, and run the same again"
                )
                raise CommandFailed(
                    host=host.name, doing=command.says, status=failed.status, output=f"{hint}\n{failed.output}"
                ) from failed


def _named(found: str, want: NvidiaDriverWant) -> dict[str, Any]:
    """Branch and version in the words of what is wanted: without an exact version the branch says it all."""
    return {"branch": int(found.split(".", maxsplit=1)[0]), "version": found if want.version else ""}


def _names(want: NvidiaDriverWant) -> list[str]:
    """All packages that are asked for."""
    return [*want.packages, *want.headers, *([want.pinning] if want.pinning else [])]


def _hold(facts: HostFacts, want: NvidiaDriverWant) -> bool:
    there, kept = set(installed(facts, want.asks())), set(held(facts, want.asks()))
    return want.hold if kept == (there if want.hold else set()) else not want.hold


def _changes(want: NvidiaDriverWant, have: NvidiaDriverWant | None) -> bool:
    """Whether packages of the driver itself come, go or change."""
    return have is None or sorted(have.packages) != sorted(want.packages) or bool(have.others)


def _before(want: NvidiaDriverWant, have: NvidiaDriverWant | None) -> list[Command]:
    """Headers, without which no module is built, and the pin, without which apt moves on to the newest branch."""
    missing = [name for name in want.headers if have is None or name not in have.headers]
    if want.pinning and (have is None or have.pinning != want.pinning):
        missing.append(want.pinning)
    pins = [name for name in (have.others if have is not None else []) if name.startswith(nvidia.PINNING)]
    packages = dict.fromkeys(missing, ANY) | dict.fromkeys(pins, ABSENT)
    return _install(want, packages, hold=[]) if packages else []


def _driver(want: NvidiaDriverWant, have: NvidiaDriverWant | None) -> list[Command]:
    """All packages of the driver in one run where one of them differs, and their holds."""
    hold = want.packages if want.hold else []
    others = [] if have is None else [name for name in have.others if not name.startswith(nvidia.PINNING)]
    if not _changes(want, have):
        kept = have is not None and have.hold == want.hold
        return [] if kept else _install(want, {}, hold=hold, free=[] if hold else want.packages)
    changed = {
        name: ABSENT if nvidia.must_go(name, want.branch, want.flavour) else nvidia.asked(want.branch, want.version)
        for name in others
    }
    stream = [shell(_STREAM, want.stream, says=f"choosing the stream {want.stream}", root=True, timeout_s=300)]
    along = [name for name, asked in changed.items() if want.hold and asked != ABSENT]
    return [
        *(stream if want.stream else []),
        *_install(want, want.asks() | changed, hold=[*hold, *along], free=[*want.packages, *others]),
    ]


def _install(
    want: NvidiaDriverWant, packages: dict[str, str], *, hold: Sequence[str], free: Sequence[str] = ()
) -> list[Command]:
    older = [name for name, asked in packages.items() if asked not in {ANY, ABSENT}]
    if want.manager == "apt":
        return apt.install(packages, free=free, hold=hold, older=older, wait_s=want.lock_wait_s)
    return dnf.install(packages, free=free, hold=hold, older=older)


def _remove(have: NvidiaDriverWant) -> list[Command]:
    packages = [*have.packages, *([have.pinning] if have.pinning else [])]
    gone = _install(have, dict.fromkeys(packages, ABSENT), hold=[], free=packages) if packages else []
    return [*gone, *kernel.unblacklist(have.initramfs)]
