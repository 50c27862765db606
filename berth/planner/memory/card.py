"""Several replicas on one card, in the order in which they start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory.predict import predict
from berth.planner.memory.serving import NOTHING, Serving
from berth.planner.verdict import CardVerdict, ReplicaMemory, Verdict

__all__ = ["Resident", "place"]


@dataclass(frozen=True, kw_only=True)
class Resident:
    """One replica's rank on the card."""

    name: str
    shape: ModelShape
    serving: Serving


def place(
    residents: Iterable[Resident],
    gpu: Gpu,
    *,
    host: str = "",
    index: int = 0,
    foreign: Bytes = NOTHING,
) -> tuple[CardVerdict, tuple[ReplicaMemory, ...]]:
    """What each replica finds when it starts after the ones before it, and the card as a whole.

    `foreign` is what processes that are not ours hold on the card.
    """
    held = least = foreign
    memories: list[ReplicaMemory] = []
    uses: list[tuple[str, Bytes]] = []
    reasons: list[str] = []
    for resident in residents:
        memory = predict(resident.shape, resident.serving, gpu, held, others_least=least)
        memories.append(memory)
        uses.append((resident.name, memory.used))
        reasons.extend(f"{resident.name}: {reason}" for reason in memory.reasons)
        held += memory.used
        least += memory.least
    verdict = Verdict.worst(memory.verdict for memory in memories)
    return (
        CardVerdict(
            host=host,
            index=index,
            model=gpu.id,
            total=gpu.cuda_total,
            uses=tuple(uses),
            free=gpu.cuda_total - held,
            verdict=verdict,
            reasons=tuple(reasons),
        ),
        tuple(memories),
    )
