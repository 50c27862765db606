"""What the planner reads of a machine's facts: what its cards are used for by others than this stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from berth.catalogue.units import Bytes
from berth.facts import HostFacts
from berth.facts.model import GpuFact, GpuProcess

_IDLE = 64 * 2**20
"""A driver without any process reports some MiB as used; what the processes say adds up a little short, too."""
_STEP = 256 * 2**20
"""A desktop moves by some MiB all the time, which must not change any plan."""


def foreign(gpu: GpuFact) -> Bytes:
    """What others hold on a card, in steps that small movements do not leave; own engines are taken off before."""
    return Bytes(0) if gpu.used < _IDLE else Bytes(-(-gpu.used // _STEP) * _STEP)


def without_own(facts: HostFacts, folder: str, unit_prefix: str) -> HostFacts:
    """The facts as if no engine of this stack ran, so that a second plan is the first one again.

    Args:
        facts: as they were gathered.
        folder: where the stack's services write what they say, on that host.
        unit_prefix: starts the names of the stack's systemd units and containers.
    """

    def own(process: GpuProcess) -> bool:
        return process.output.startswith(f"{folder}/") or f"/{unit_prefix}-" in process.cgroup

    return without(facts, own)


def without(facts: HostFacts, own: Callable[[GpuProcess], bool]) -> HostFacts:
    """The facts as if these processes were not there."""
    mine = [process for process in facts.gpu_processes if own(process)]
    if not mine:
        return facts
    gpus = tuple(gpu.model_copy(update={"used": _rest(gpu, mine)}) for gpu in facts.gpus)
    others = tuple(process for process in facts.gpu_processes if not own(process))
    return facts.model_copy(update={"gpus": gpus, "gpu_processes": others})


def _rest(gpu: GpuFact, mine: Iterable[GpuProcess]) -> int:
    """What is left of a card's use; a container is not told which process uses what, so there all counts as ours."""
    if any(not process.uuid for process in mine):
        return 0
    return max(0, gpu.used - sum(process.memory for process in mine if process.uuid == gpu.uuid))


def driver_of(facts: HostFacts) -> str | None:
    """The driver that programs meet there now."""
    driver = facts.driver
    return driver.loaded or driver.installed or driver.packages
