"""Which of a host's packages are the driver's: those that fit a declared driver, and those in its way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from berth.catalogue.drivers import packager, upstream
from berth.facts import HostFacts
from berth.provider.packaging import broken

Flavour = Literal["open", "proprietary"]

PINNING = "nvidia-driver-pinning-"
_MODULES = re.compile(r"-dkms|-kernel-source|^kmod-nvidia")
_NEED_MODULES = re.compile(r"^nvidia-open(-|$)|^cuda-drivers(-\d+)?$|^nvidia-(driver|headless)(-no-dkms)?-\d+")
"""Packages that need those of one flavour; they go with them, and only with them."""
_OF_A_BRANCH = re.compile(r"-(\d{3,4})(?![0-9])")
_OF_A_VERSION = re.compile(r"-(\d{3,4}(\.\d+){1,2})$")


def asked(branch: int, version: str) -> str:
    """What is asked of each package: the newest of a branch, or one version in any packaging of it."""
    return f"{version}-*" if version else f"{branch}.*"


def fits(found: str, branch: int, version: str) -> bool:
    """Whether a driver's own version is of the branch, or the exact one."""
    return found == version if version else found.split(".", maxsplit=1)[0] == str(branch)


def of_the_driver(facts: HostFacts) -> dict[str, str]:
    """The driver's own version by installed package of it."""
    return {
        name: version
        for name, fact in facts.packages.items()
        if fact.state == "installed"
        and not name.startswith(PINNING)
        and (version := upstream(name, fact.version)) is not None
    }


def works(facts: HostFacts, branch: int, version: str, flavour: Flavour) -> bool:
    """Whether the driver on disk is as wanted, whoever packaged it: libraries, module, and the module's flavour."""
    driver = facts.driver
    return (
        driver.installed is not None
        and driver.installed == driver.packages
        and fits(driver.installed, branch, version)
        and driver.flavour == flavour
    )


def in_the_way(facts: HostFacts, branch: int, version: str, flavour: Flavour, pinning: str) -> list[str]:
    """Installed packages of another version or flavour of the driver, and pins to another."""
    others = [name for name, found in of_the_driver(facts).items() if not fits(found, branch, version)]
    flavoured = [name for name in of_the_driver(facts) if is_of_other_flavour(name, flavour)]
    if any(_MODULES.search(name) for name in flavoured):
        others += [name for name in flavoured if name not in others]
    others += [
        name
        for name, fact in facts.packages.items()
        if name.startswith(PINNING) and name != pinning and fact.state == "installed"
    ]
    return sorted(others)


def must_go(name: str, branch: int, flavour: Flavour) -> bool:
    """Whether a package in the way goes, rather than change its version: its name says another driver or flavour.

    One whose name holds a whole version (`nvidia-firmware-580-580.95.05`) can have no other.
    """
    suffix = _OF_A_BRANCH.search(name)
    return (
        name.startswith(PINNING)
        or _OF_A_VERSION.search(name) is not None
        or (suffix is not None and suffix[1] != str(branch))
        or is_of_other_flavour(name, flavour)
    )


def is_of_other_flavour(name: str, flavour: Flavour) -> bool:
    """Whether a package holds or needs kernel modules of the flavour that is not wanted."""
    return bool(_MODULES.search(name) or _NEED_MODULES.search(name)) and ("open" in name) != (flavour == "open")


def version(facts: HostFacts, names: Sequence[str], branch: int, exact: str) -> str | None:
    """The driver's version as its packages have it, the first that does not fit where they differ; None without any."""
    driver = of_the_driver(facts)
    found = [driver[name] for name in names if name in driver] or [
        version for version in (facts.driver.packages, facts.driver.installed) if version is not None
    ]
    return min(found, key=lambda one: fits(one, branch, exact), default=None)


def kept(facts: HostFacts, names: Sequence[str], branch: int, exact: str) -> str:
    """The very version to ask for: what is there of the branch stays at its point release, under engines that run.

    Empty where nothing of it is there, so that the newest of the branch comes.
    """
    if exact:
        return exact
    driver = of_the_driver(facts)
    found = [driver[name] for name in names if name in driver and fits(driver[name], branch, "")]
    return max(found, key=lambda one: [int(word) for word in one.split(".")], default="")


def interrupted(facts: HostFacts, names: Sequence[str]) -> list[str]:
    """Interrupted installations where they matter: of the driver's own, or in the way of what is not there yet."""
    found = broken(facts)
    own = {name for name in found if name in names or upstream(name, facts.packages[name].version) is not None}
    return found if own or set(whole(facts, names)) != set(names) else []


def module(facts: HostFacts, version: str | None, *, dkms: bool) -> str:
    """Whether the module for the running kernel is on disk: `installed` where it is, in the packages' version."""
    driver = facts.driver
    if driver.installed is None:
        return "not built" if dkms and driver.dkms else "missing"
    if dkms and driver.dkms.get(facts.kernel) != "installed":
        return "not built"
    return "installed" if version in {None, driver.installed} else "other version"


def problems(facts: HostFacts, origin: str, manager: str) -> list[str]:
    """What no package manager can put right: another packager's driver, one of no package, another package manager."""
    found = []
    if facts.package_manager != manager:
        found.append(f"it has {facts.package_manager or 'neither apt nor dnf'}, must have {manager}")
    if theirs := foreign(facts, origin):
        remove = "apt-get purge" if manager == "apt" else "dnf remove"
        found.append(
            f"the NVIDIA driver there is of {' and '.join(sorted(set(theirs.values())))}'s packages, must be of "
            f"{origin}'s alone, since the two overwrite each other's files; run `sudo {remove} {' '.join(theirs)}` "
            "there first, which takes that driver away until the next update"
        )
    if facts.driver.installed is not None and not of_the_driver(facts):
        found.append(
            f"the NVIDIA driver {facts.driver.installed} there is of no package, must be of {origin}'s; NVIDIA's "
            "installer put it there: run `sudo nvidia-uninstall` there first"
        )
    return found


def foreign(facts: HostFacts, origin: str) -> dict[str, str]:
    """Installed packages of the driver that are another packager's, each with whose it is."""
    owners = {name: packager(name, facts.packages[name].version) for name in of_the_driver(facts)}
    return {name: owner for name, owner in owners.items() if owner is not None and owner != origin}


def whole(facts: HostFacts, names: Sequence[str]) -> list[str]:
    """Those of the packages that are installed whole."""
    return [name for name in names if name in facts.packages and facts.packages[name].state == "installed"]
