"""Which NVIDIA driver a host gets: its branch, the flavour of its modules, its packages, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from packaging.version import Version

from berth.catalogue import drivers
from berth.catalogue.gpus import Gpu
from berth.catalogue.operating_systems import Flavour
from berth.facts import HostFacts
from berth.planner.machine import Machine
from berth.planner.notes import refusal, remark, warning
from berth.planner.plan import Note
from berth.planner.plan.prerequisites import DriverPlan
from berth.spec.prerequisites import Driver

NEWEST_OF_BRANCH = 999
"""A branch is installed at its newest release, which is newer than any that a requirement names."""

_OPEN_BY_DEFAULT = 560
"""From this branch on NVIDIA's packages take the open modules where nothing else is said."""

_NVLINK5 = (10, 0)
"""The compute capability of Blackwell data-center cards, whose switches have a manager of their own."""

_BASEBOARD = 8
"""Cards on a baseboard with switches."""


def wanted_version(said: Driver | None, gpus: Iterable[Gpu] = ()) -> str | None:
    """The driver that a declaration comes to, as a version; None where none is declared."""
    if said is None:
        return None
    return said.version or f"{branch_of(said, tuple(gpus))}.{NEWEST_OF_BRANCH}"


def branch_of(said: Driver, gpus: tuple[Gpu, ...]) -> int:
    """The branch that is declared, or the long-lived one that drives all the cards."""
    if said.version is not None:
        return Version(said.version).major
    if said.branch is not None:
        return said.branch
    branch = max([drivers.default_branch(gpu) for gpu in gpus], default=drivers.LONG_LIVED)
    return min([branch, *(gpu.last_branch for gpu in gpus if gpu.last_branch is not None)])


def driver(machine: Machine, notes: list[Note]) -> DriverPlan | None:
    """The driver's part of a host's prerequisites, for the kernel that runs there; `notes` takes what must be said."""
    said, facts, system, gpus = machine.host.prerequisites, machine.facts, machine.system, machine.gpus
    wanted, where = said.driver, f"{machine.where}.driver"
    assert wanted is not None  # noqa: S101 - asked only where it is declared
    branch = branch_of(wanted, gpus)
    if wanted.branch is None and wanted.version is None:
        notes.append(remark(where, f"names no branch: {branch} is taken, which is long-lived"))
    flavour = _flavour(wanted, branch, gpus)
    against = [*conflicts(wanted, gpus), *_foreign(facts)]
    named = system.driver(branch, flavour, wanted.version)
    if named is None:
        against.append(f"{system.name} has no packages with {flavour} modules, must have them; use another system")
    notes += [refusal(where, text) for text in against]
    if against or named is None:
        return None
    notes += [warning(where, text) for text in _on_the_machine(wanted, branch, machine)]
    newest = any(gpu.compute_capability >= _NVLINK5 and gpu.nvswitch for gpu in gpus)
    fabric = said.fabric_manager == "auto" and (facts.driver.nvswitch or _has_nvlink5_switch(machine))
    return DriverPlan(
        branch=branch,
        version=wanted.version,
        flavour=flavour,
        packages=named.packages,
        pinning=named.pinning,
        stream=named.stream,
        headers=system.headers(facts.kernel),
        kernel=facts.kernel,
        initramfs=facts.initramfs or ("update-initramfs" if system.manager == "apt" else "dracut"),
        reboot=wanted.reboot == "allowed",
        persistence=wanted.persistence,
        power=dict(_power(wanted, machine, notes)),
        fabric_manager=(named.fabric_manager,) if fabric else (),
        companions=("nvlsm",) if fabric and newest else (),
    )


def _has_nvlink5_switch(machine: Machine) -> bool:
    """Whether its cards are a whole baseboard, which has a switch; that of NVLink 5 does not show on the PCI bus.

    Fewer are a part of one, whose fabric is managed outside of this machine, as are those of a rack.
    """
    switched = [
        gpu for gpu in machine.cards.values() if gpu is not None and gpu.nvswitch and gpu.compute_capability >= _NVLINK5
    ]
    return len(switched) >= _BASEBOARD and machine.facts.container is None


def _flavour(wanted: Driver, branch: int, gpus: tuple[Gpu, ...]) -> Flavour:
    """Open wherever the cards allow it and the branch is made for it."""
    if wanted.flavour != "auto":
        return wanted.flavour
    kinds = {gpu.open_modules for gpu in gpus}
    if "required" in kinds:
        return "open"
    if "unsupported" in kinds:
        return "proprietary"
    return "open" if branch >= _OPEN_BY_DEFAULT else "proprietary"


def conflicts(wanted: Driver, gpus: tuple[Gpu, ...]) -> Iterator[str]:
    """What makes the declaration impossible for these cards on any machine, each a sentence."""
    branch = branch_of(wanted, gpus)
    flavour = _flavour(wanted, branch, gpus)
    open_only = [gpu.name for gpu in gpus if gpu.open_modules == "required"]
    closed_only = [gpu.name for gpu in gpus if gpu.open_modules == "unsupported"]
    if open_only and closed_only:
        yield (
            f"{', '.join(open_only)} needs open kernel modules and {', '.join(closed_only)} proprietary ones, must "
            "agree: one machine has one flavour; put the cards into two machines"
        )
        return
    if flavour == "proprietary" and open_only:
        yield f"flavour is proprietary, must be open for {', '.join(open_only)}; leave flavour out"
    if flavour == "open" and closed_only:
        yield f"flavour is open, must be proprietary for {', '.join(closed_only)}; leave flavour out"
    version = Version(wanted.version or f"{branch}.{NEWEST_OF_BRANCH}")
    if flavour == "proprietary" and drivers.open_only(version) and not closed_only:
        yield f"flavour is proprietary, must be open: branch {branch} has no other; leave flavour out"
    for gpu in gpus:
        for text in drivers.problems(version, gpu):
            yield text if wanted.version else text.replace(f"driver {drivers.shown(version)}", f"branch {branch}")


def _foreign(facts: HostFacts) -> Iterator[str]:
    """Packages of another packager's driver: two of them overwrite each other's files."""
    owners: dict[str, list[str]] = {}
    for name, package in facts.packages.items():
        owner = drivers.packager(name, package.version)
        if owner not in {None, "nvidia"} and package.state == "installed":
            owners.setdefault(str(owner), []).append(name)
    for owner, names in sorted(owners.items()):
        some = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield (
            f"{some} of {owner.capitalize()}'s own archive is installed, must not be mixed with NVIDIA's packages; "
            "purge them first, or leave driver out and keep them"
        )


def _on_the_machine(wanted: Driver, branch: int, machine: Machine) -> Iterator[str]:
    """What the machine as it was found means for the installation."""
    facts = machine.facts
    loaded = facts.driver.loaded
    asked = wanted.version or str(branch)
    if facts.secure_boot == "enabled" and facts.driver.installed is None:
        key = drivers.signing_key(facts.os.id)
        yield (
            "Secure Boot is enabled: the module that is built there loads only once its key is enrolled at the "
            f"machine's own console (`mokutil --import {key}`, then reboot and confirm), or Secure Boot is turned off"
        )
    busy = bool(facts.driver.nouveau) or (loaded is not None and not drivers.is_of(loaded, asked))
    if busy and wanted.reboot == "never":
        there = f"driver {loaded}" if loaded is not None else ", ".join(facts.driver.nouveau)
        yield (
            f"{there} is loaded: {asked} is installed beside it and loaded after a reboot, which is not allowed; "
            "say `reboot: allowed`, or reboot the machine after `pulumi up` and run it again"
        )
    if without := _no_module_next(machine, asked):
        yield without
    if machine.system.manager == "dnf" and "dkms" not in facts.packages:
        yield "dkms comes from EPEL, which must be enabled on the machine first: `dnf install epel-release`"
    if _lacks_contrib(machine):
        yield (
            "no package source has Debian's contrib, which NVIDIA's packages for Debian depend on; add it to the "
            "components of /etc/apt/sources.list.d/debian.sources"
        )


def _no_module_next(machine: Machine, asked: str) -> str | None:
    """That the next boot is of a kernel which has no module, and without headers gets none."""
    kernel, module = machine.facts.driver.next_kernel, machine.facts.driver.next_module
    if kernel in {None, machine.facts.kernel} or (module is not None and drivers.is_of(module, asked)):
        return None
    headers = machine.system.headers(str(kernel))[0]
    if headers in machine.facts.packages:
        return None
    there = f"its NVIDIA module is {module}" if module is not None else "it has no NVIDIA module"
    return (
        f"the machine boots kernel {kernel} next, and {there}, must be {asked}; install {headers} there, with which it "
        "is built"
    )


def _lacks_contrib(machine: Machine) -> bool:
    """Whether a Debian that gets NVIDIA's own repository has package sources, and contrib in none of them."""
    if machine.facts.os.id != "debian" or machine.host.prerequisites.repositories.nvidia is not None:
        return False
    sources = [
        file.content
        for path, file in machine.facts.files.items()
        if path.startswith("/etc/apt/sources.list") and file.content
    ]
    return bool(sources) and not any("contrib" in source for source in sources)


def _power(wanted: Driver, machine: Machine, notes: list[Note]) -> Iterator[tuple[int, float]]:
    """Watts by card, as far as the cards allow what is declared."""
    said, place = wanted.power_limit, f"{machine.where}.driver.power_limit"
    if said is None:
        return
    known = {gpu.index: gpu for gpu in machine.facts.gpus}
    indices = sorted({*machine.cards, *known, *range(len(machine.facts.pci_gpus))})
    limits = {int(index): watts for index, watts in said.items()} if isinstance(said, Mapping) else {}
    if isinstance(said, float | int):
        limits = dict.fromkeys(indices, float(said))
    if not limits:
        notes.append(refusal(place, "is declared for a host without GPUs, must be left out; say the host's gpus"))
    for index, watts in sorted(limits.items()):
        if index not in indices:
            notes.append(refusal(f"{place}.{index}", f"names GPU {index}, must be one of {indices}"))
            continue
        card = known.get(index)
        low, high = (card.power_min, card.power_max) if card is not None else (None, None)
        if low is not None and high is not None and card is not None and not low <= watts <= high:
            text = f"is {watts:g} W, must be from {low:g} to {high:g} W for {card.name}"
            notes.append(refusal(f"{place}.{index}", text))
            continue
        yield index, watts
