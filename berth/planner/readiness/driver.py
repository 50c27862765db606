"""The NVIDIA driver: on disk, in the kernel, for these cards, and the GPUs that it shows."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from berth.catalogue import drivers, gpus
from berth.catalogue.gpus import Gpu
from berth.planner.readiness.check import Check, Subject, fail, ok, unknown, warn

_ABOUT = "driver"
_REBOOT = "reboot the machine"


def driver_checks(subject: Subject) -> Iterator[Check]:
    """Everything about the driver, where something needs GPUs or a driver is declared."""
    if not subject.needs_gpus and "driver" not in subject.host.declares:
        return
    driver, facts = subject.facts.driver, subject.facts
    if not facts.gpus and not facts.pci_gpus:
        cards = subject.host.cards
        must = f"{len(cards)} x {cards[0].model}" if cards else "one"
        todo = "correct the host's gpus in the stack file, or look whether the card is seated and passed through"
        yield fail("gpus", "no NVIDIA GPU is on the machine's bus", must, todo)
        if driver.loaded is None and driver.installed is None and "driver" not in subject.host.declares:
            return
    if driver.loaded is None:
        yield _not_loaded(subject)
        return
    yield from _loaded(subject, driver.loaded)
    yield from _gpus(subject)


def _not_loaded(subject: Subject) -> Check:
    driver = subject.facts.driver
    if driver.installed is None:
        least = max((gpu.minimum_driver for gpu in _cards(subject)), default=None)
        must = _asked_for(subject) or (f"{drivers.shown(least)} or newer" if least is not None else "one")
        todo = subject.install("driver", f"install branch {_branch(subject)}")
        return fail(_ABOUT, "no NVIDIA driver is installed", must, todo, "driver")
    by = f"{', '.join(driver.nouveau)} has the cards" if driver.nouveau else "nothing is loaded"
    if driver.rejected:
        key = drivers.signing_key(subject.facts.os.id)
        have = f"{driver.installed} is installed and Secure Boot has rejected its module"
        todo = f"enroll its key (`mokutil --import {key}`, {_REBOOT}, confirm at its console), or turn Secure Boot off"
        return fail(_ABOUT, have, "loaded", todo)
    if driver.dkms and driver.dkms.get(subject.facts.kernel) != "installed":
        have = f"{driver.installed} is installed and has no module for kernel {subject.facts.kernel}"
        todo = subject.install("driver", "install its headers, `dkms autoinstall`")
        return fail(_ABOUT, have, "built for it", todo, "driver")
    have = f"{driver.installed} is installed and {by}"
    return fail(_ABOUT, have, "loaded", f"{_REBOOT}, or `modprobe nvidia`" if not driver.nouveau else _REBOOT, "driver")


def _loaded(subject: Subject, loaded: str) -> Iterator[Check]:
    driver, asked = subject.facts.driver, _asked(subject)
    if driver.installed is not None and driver.installed != loaded:
        yield fail(
            _ABOUT, f"{loaded} is loaded and {driver.installed} is on disk", "one and the same", _REBOOT, "driver"
        )
    elif driver.packages is not None and driver.packages != loaded:
        have = f"the module {loaded} is loaded and its libraries are {driver.packages}"
        yield fail(_ABOUT, have, "of one version (new processes fail until then)", _REBOOT, "driver")
    elif asked is not None and not drivers.is_of(loaded, asked):
        must = _asked_for(subject) or asked
        yield fail(_ABOUT, f"{loaded} is loaded", must, "`pulumi up` brings it", "driver")
    else:
        yield from _fitting(subject, loaded)


def _fitting(subject: Subject, loaded: str) -> Iterator[Check]:
    """The loaded driver with the cards and the flavour of its modules."""
    driver = subject.facts.driver
    try:
        version = Version(loaded)
    except InvalidVersion:
        yield unknown(_ABOUT, f"{loaded} is loaded, which is no version that Berth can compare", "look at nvidia-smi")
        return
    against = [text for gpu in _cards(subject) for text in drivers.problems(version, gpu)]
    for text in against:
        have, _, todo = text.partition("; ")
        yield fail(_ABOUT, have, "another", todo, "driver")
    needing = [gpu.name for gpu in _cards(subject) if gpu.open_modules == "required"]
    if needing and driver.flavour == "proprietary":
        have = f"{loaded} has proprietary modules"
        todo = subject.install("driver", "install its open modules")
        yield fail(_ABOUT, have, f"of the open flavour for {needing[0]}", todo, "driver")
    elif not against:
        yield ok(_ABOUT, f"{loaded} is loaded" + (f" ({driver.flavour} modules)" if driver.flavour else ""), "driver")


def _gpus(subject: Subject) -> Iterator[Check]:
    """The GPUs that the driver shows, against those that are planned with and those on the bus."""
    facts = subject.facts
    answering, there, planned = len(facts.gpus), len(facts.pci_gpus), len(subject.host.cards)
    if "gpus" in facts.unread:
        yield fail("gpus", f"the driver does not answer ({facts.unread['gpus']})", "up", "look at `dmesg`; reboot it")
    elif answering < there:
        have = f"{answering} of the {there} NVIDIA GPUs on the bus answer"
        yield fail("gpus", have, "all", "look for Xid lines in `dmesg`; reset or reboot the machine")
    elif planned and answering != planned:
        have = f"{answering} GPUs answer and the plan has {planned}"
        yield fail("gpus", have, "as many", "correct the host's gpus in the stack file, or the machine")
    elif answering:
        names = ", ".join(dict.fromkeys(gpu.name for gpu in facts.gpus))
        yield ok("gpus", f"{answering} x {names}")
    asleep = [str(gpu.index) for gpu in facts.gpus if gpu.persistence is False]
    if asleep:
        have = f"persistence mode of GPU {', '.join(asleep)} is off"
        todo = subject.install("driver", "start nvidia-persistenced with --persistence-mode")
        yield warn("persistence", have, "on: without it the driver starts anew with each process", todo, "driver")
    if facts.driver.nvswitch:
        yield _fabric(subject)


def _fabric(subject: Subject) -> Check:
    driver, unit = subject.facts.driver, subject.facts.units.get("nvidia-fabricmanager.service")
    runs = subject.facts.container is not None or (unit is not None and unit.active == "active")
    if driver.fabric_state == "up":
        return ok("fabric manager", f"the NVSwitch fabric is up ({driver.fabric})")
    if driver.fabric_state == "not said" and runs:
        return ok("fabric manager", "runs, and the cards say nothing of their fabric")
    have = f"the NVSwitch fabric is {driver.fabric}" if driver.fabric_state == "down" else "it does not run"
    if "driver" in subject.host.declares:
        todo = "`pulumi up` brings it"
    else:
        todo = "install nvidia-fabricmanager in exactly the driver's version and start it"
    return fail("fabric manager", have, "completed: until then CUDA fails with error 802", todo, "fabric_manager")


def _asked(subject: Subject) -> str | None:
    """The branch or version that is declared and decided."""
    plan = subject.host.prerequisites
    return plan.driver.wanted if plan is not None and plan.driver is not None else None


def _asked_for(subject: Subject) -> str | None:
    asked = _asked(subject)
    return None if asked is None else f"{'version' if '.' in asked else 'of branch'} {asked}"


def _branch(subject: Subject) -> int:
    return max((drivers.default_branch(gpu) for gpu in _cards(subject)), default=drivers.LONG_LIVED)


def _cards(subject: Subject) -> tuple[Gpu, ...]:
    """The catalogue's rows of the planned cards, each kind once."""
    found: dict[str, Gpu] = {}
    for card in subject.host.cards:
        try:
            gpu = gpus.find(card.model, card.total)
        except gpus.UnknownGpu:
            continue
        found[gpu.id] = gpu
    return tuple(found.values())
