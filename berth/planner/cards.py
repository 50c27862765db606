"""The cards of the stack's hosts and clusters: as observed where they were, as declared and catalogued otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from berth.catalogue import gpus
from berth.catalogue.gpus import Gpu, UnknownGpu
from berth.catalogue.units import Bytes
from berth.facts import HostFacts
from berth.facts.model import GpuFact
from berth.planner.facts import foreign
from berth.planner.notes import refusal, warning
from berth.planner.plan import Card, Note
from berth.spec.hosts import Gpus
from berth.spec.problems import nearest
from berth.spec.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One card: what the plan says of it, its row in the catalogue (None when there is none), and what others hold."""

    card: Card
    gpu: Gpu | None
    foreign: Bytes


def host_slots(stack: Stack, facts: Mapping[str, HostFacts], notes: list[Note]) -> Mapping[str, tuple[Slot, ...]]:
    """The cards of every host."""
    found: dict[str, tuple[Slot, ...]] = {}
    for name, host in stack.hosts.items():
        declared = tuple(_declared(host.gpus, f"hosts.{name}", notes))
        observed = facts[name].gpus if name in facts else ()
        if observed:
            notes += _differences(name, declared, observed)
            found[name] = tuple(_observed(card) for card in observed)
        else:
            found[name] = declared
    return found


def cluster_gpus(stack: Stack, notes: list[Note]) -> Mapping[str, Mapping[str, Gpu | None]]:
    """The kinds of GPU of every cluster, by the name that the stack file gives them."""
    return {
        name: {
            kind.model: gpu_of(kind, f"clusters.{name}.gpus[{number}]", notes)
            for number, kind in enumerate(cluster.gpus)
        }
        for name, cluster in stack.clusters.items()
    }


def gpu_of(kind: Gpus, where: str, notes: list[Note]) -> Gpu | None:
    """The catalogue's row of a declared GPU, with the declared memory; None with a note when it has none."""
    try:
        gpu = gpus.find(kind.model, kind.memory)
    except UnknownGpu:
        known = [row.id for row in gpus.all_gpus()]
        near = nearest(kind.model, known)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
        if kind.memory is None:
            notes.append(refusal(f"{where}.model", f"is {kind.model}, must be a GPU of the catalogue; {hint}"))
        else:
            text = f"{kind.model} is not in the catalogue, so what fits on it is unknown; {hint}"
            notes.append(warning(f"{where}.model", text))
        return None
    if kind.memory is None or gpus.same_size(gpu.memory, kind.memory):
        return gpu
    return replace(gpu, memory=kind.memory, cuda_total=Bytes(round(kind.memory * (gpu.cuda_total / gpu.memory))))


def _declared(kinds: Sequence[Gpus], where: str, notes: list[Note]) -> Iterator[Slot]:
    index = 0
    for number, kind in enumerate(kinds):
        gpu = gpu_of(kind, f"{where}.gpus[{number}]", notes)
        total = gpu.memory if gpu is not None else kind.memory or Bytes(0)
        for _ in range(kind.count):
            card = Card(index=index, model=gpu.id if gpu is not None else kind.model, total=total)
            yield Slot(card=card, gpu=gpu, foreign=Bytes(0))
            index += 1


def _observed(facts: GpuFact) -> Slot:
    total = Bytes(facts.memory)
    try:
        gpu = gpus.find(facts.name, total)
    except UnknownGpu:
        card = Card(index=facts.index, model=facts.name, total=total)
        return Slot(card=card, gpu=None, foreign=foreign(facts))
    if not gpus.same_size(gpu.memory, total):
        scale = gpu.cuda_total / gpu.memory
        gpu = replace(gpu, memory=total, cuda_total=Bytes(round(total * scale)))
    return Slot(card=Card(index=facts.index, model=gpu.id, total=total), gpu=gpu, foreign=foreign(facts))


def _differences(host: str, declared: Sequence[Slot], observed: Sequence[GpuFact]) -> Iterator[Note]:
    where = f"hosts.{host}.gpus"
    if not declared:
        listed = ", ".join(f"{card.name} ({Bytes(card.memory)})" for card in observed)
        yield warning(where, f"is not said, the host has {listed}; write it down so that plans without access know it")
        return
    have = [_observed(card).card.model for card in observed]
    want = [slot.card.model for slot in declared]
    if have != want:
        text = f"says {', '.join(want)}, the host has {', '.join(have)}; must agree; correct the file or the machine"
        yield refusal(where, text)
