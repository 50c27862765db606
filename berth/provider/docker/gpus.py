"""How a host's Docker gives cards to a container, as its facts say."""

from __future__ import annotations

from collections.abc import Sequence

from berth.facts import HostFacts
from berth.provider.docker.container import GPU_KIND, Container, GpuAccess
from berth.provider.errors import BadInput

_CDI_SINCE = 25
"""Docker's major version from which on `--device` takes names of CDI devices (an experiment before, off by default)."""


def access(facts: HostFacts, cards: Sequence[int], *, where: str) -> GpuAccess:
    """By names of CDI devices where Docker knows them, else by the toolkit's runtime.

    CDI comes first: containers of the runtime lose their cards when systemd reloads its units
    (https://github.com/NVIDIA/nvidia-container-toolkit/issues/48), those of CDI do not.

    Raises:
        BadInput: it knows neither.
    """
    if _knows(facts, cards):
        return "cdi"
    if "nvidia" in facts.docker.runtimes:
        return "runtime"
    raise BadInput(
        f"{where}: Docker there knows neither CDI devices {GPU_KIND}={cards[0]} nor the runtime nvidia, must know one; "
        "declare prerequisites.container_toolkit of that host, or install the NVIDIA container toolkit"
    )


def _knows(facts: HostFacts, cards: Sequence[int]) -> bool:
    wanted = {f"{GPU_KIND}={card}" for card in cards}
    if wanted <= set(facts.docker.cdi_devices):  # as Docker itself lists them from 28 on
        return True
    major = int((facts.docker.version or "0").split(".", 1)[0])
    listed = {
        device if "=" in device else f"{GPU_KIND}={device}"
        for file in facts.cdi
        if file.kind == GPU_KIND
        for device in file.devices
    }
    return major >= _CDI_SINCE and bool(facts.docker.cdi_dirs) and wanted <= listed


def as_asked(container: Container | None) -> Container | None:
    """A container as it was asked for: how it gets its cards is not."""
    return None if container is None else container.model_copy(update={"access": "none"})
