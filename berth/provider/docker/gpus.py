"""How a host's Docker gives cards to a container, as its facts say."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.version import InvalidVersion, Version

from berth.facts import HostFacts
from berth.provider.docker.container import GPU_KIND, Container, GpuAccess
from berth.provider.errors import BadInput

_CDI_SINCE = Version("25")
"""From this Docker on, `--device` takes names of CDI devices."""

_RESTARTS_SINCE = Version("28.2")
"""From this Docker on, containers with CDI devices come back when the daemon starts; before, it refused them then,
since it learnt of CDI only after having started its containers (https://github.com/moby/moby/issues/49989)."""


def access(facts: HostFacts, cards: Sequence[int], *, where: str) -> GpuAccess:
    """By names of CDI devices where Docker knows them, else by the toolkit's runtime.

    CDI comes first, where containers with it survive a restart of Docker: those of the runtime lose their cards when
    systemd reloads its units (https://github.com/NVIDIA/nvidia-container-toolkit/issues/48), those of CDI do not.

    Raises:
        BadInput: it knows neither.
    """
    known = _knows(facts, cards)
    if known and _version(facts) >= _RESTARTS_SINCE:
        return "cdi"
    if "nvidia" in facts.docker.runtimes:
        return "runtime"
    if known:
        return "cdi"
    raise BadInput(
        f"{where}: Docker there knows neither CDI devices {GPU_KIND}={cards[0]} nor the runtime nvidia, must know one; "
        "declare prerequisites.container_toolkit of that host, or install the NVIDIA container toolkit"
    )


def caution(facts: HostFacts, cards: Sequence[int], *, where: str) -> str:
    """What is wrong with the way that `access` finds, though it works; empty where nothing is."""
    if not _knows(facts, cards) or "nvidia" in facts.docker.runtimes or _version(facts) >= _RESTARTS_SINCE:
        return ""
    return (
        f"{where}: Docker there is {facts.docker.version}, must be {_RESTARTS_SINCE} or have the runtime nvidia: it "
        "does not start containers with CDI devices again when it starts itself, so that engines stay down after a "
        "reboot until the next `pulumi up`; declare prerequisites.container_toolkit of that host, or upgrade Docker"
    )


def _version(facts: HostFacts) -> Version:
    try:
        return Version((facts.docker.version or "0").split("+", 1)[0])
    except InvalidVersion:
        return Version("0")


def _knows(facts: HostFacts, cards: Sequence[int]) -> bool:
    wanted = {f"{GPU_KIND}={card}" for card in cards}
    if wanted <= set(facts.docker.cdi_devices):  # as Docker itself lists them from 28 on
        return True
    listed = {
        device if "=" in device else f"{GPU_KIND}={device}"
        for file in facts.cdi
        if file.kind == GPU_KIND
        for device in file.devices
    }
    return _version(facts) >= _CDI_SINCE and bool(facts.docker.cdi_dirs) and wanted <= listed


def as_asked(container: Container | None) -> Container | None:
    """A container as it was asked for: how it gets its cards is not."""
    return None if container is None else container.model_copy(update={"access": "none"})
