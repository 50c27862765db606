"""The memory of every replica on its cards: start order and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.cards import Slot
from berth.planner.memory import Resident, place
from berth.planner.memory.weights import weights
from berth.planner.placement import Seat
from berth.planner.plan import Card
from berth.planner.servings import Sized, by_card, outside_share, serving_of
from berth.planner.shares import chosen
from berth.planner.verdict import CardVerdict, ReplicaMemory, Verdict


def sized(
    seats: Sequence[tuple[Seat, str, ModelShape | None]],
    slots: Mapping[str, tuple[Slot, ...]],
    kinds: Mapping[str, Mapping[str, Gpu | None]],
    profile: str,
) -> tuple[tuple[Sized, ...], tuple[CardVerdict, ...]]:
    """Every replica in start order (small to large) and the verdict on every card."""
    started = [_start(seat, version, shape, _gpu(seat, slots, kinds), profile) for seat, version, shape in seats]
    order = sorted(range(len(started)), key=lambda number: (_weights(started[number]), number))
    started = [started[number] for number in order]
    started = chosen(started, slots)
    there = by_card(started)
    verdicts: list[CardVerdict] = []
    memories: dict[str, ReplicaMemory] = {}
    for host, cards in slots.items():
        verdicts += [_card(host, slot, there.get((host, slot.card.index), ()), memories) for slot in cards]
    pods: dict[str, int] = {}
    for one in started:
        if one.seat.on_cluster and one.gpu is not None:
            index = pods[one.seat.host] = pods.get(one.seat.host, -1) + 1
            pod = Card(index=index, model=one.gpu.id, total=one.gpu.memory)
            card = Slot(card=pod, gpu=one.gpu, foreign=Bytes(0))
            verdicts.append(_card(one.seat.host, card, [one], memories))
    return tuple(_with_memory(one, memories.get(one.seat.name)) for one in started), tuple(verdicts)


def _with_memory(one: Sized, memory: ReplicaMemory | None) -> Sized:
    """The replica with its memory, whose shares are said as the stack file says them."""
    if memory is None or one.gpu is None:
        return one
    outside = outside_share(one.seat.spec, one.gpu)
    if outside:
        least = memory.smallest_share
        least = None if least is None or least + outside > 1 else round(least + outside, 3)
        memory = replace(memory, share=min(1.0, round(memory.share + outside, 3)), smallest_share=least)
    return replace(one, memory=memory)


def _start(seat: Seat, version: str, shape: ModelShape | None, gpu: Gpu | None, profile: str) -> Sized:
    if gpu is None or shape is None or seat.spec.engine.device == "cpu":
        return Sized(seat=seat, version=version, shape=shape, gpu=None if seat.spec.engine.device == "cpu" else gpu)
    serving = serving_of(seat, version, shape, gpu, profile)
    return Sized(seat=seat, version=version, shape=shape, gpu=gpu, serving=serving)


def _gpu(
    seat: Seat, slots: Mapping[str, tuple[Slot, ...]], kinds: Mapping[str, Mapping[str, Gpu | None]]
) -> Gpu | None:
    """The card that each rank gets; of unlike cards the smallest."""
    if seat.on_cluster:
        known = kinds.get(seat.host, {})
        return known.get(seat.gpu) if seat.gpu is not None else next(iter(known.values()), None)
    mine = [slot.gpu for slot in slots.get(seat.host, ()) if slot.card.index in seat.cards]
    known_cards = [gpu for gpu in mine if gpu is not None]
    return min(known_cards, key=lambda gpu: gpu.cuda_total) if mine and len(known_cards) == len(mine) else None


def _weights(one: Sized) -> int:
    if one.serving is None or one.shape is None or one.gpu is None:
        return 0
    return int(weights(one.shape, one.serving, one.gpu))


def _card(host: str, slot: Slot, on_card: Sequence[Sized], memories: dict[str, ReplicaMemory]) -> CardVerdict:
    """The verdict on one card; the replicas' memories go to `memories`, the worst of their cards."""
    known = [one for one in on_card if one.shape is not None and one.serving is not None]
    unknown = [one for one in on_card if one.shape is None or one.serving is None]
    if slot.gpu is None:
        return CardVerdict(
            host=host,
            index=slot.card.index,
            model=slot.card.model,
            total=slot.card.total,
            uses=tuple((one.seat.name, Bytes(0)) for one in on_card),
            free=slot.card.total - slot.foreign,
            verdict=Verdict.UNKNOWN if on_card else Verdict.FITS,
            reasons=("the GPU is not in the catalogue",) if on_card else (),
        )
    residents = [
        Resident(name=one.seat.name, shape=one.shape, serving=one.serving)
        for one in known
        if one.shape is not None and one.serving is not None
    ]
    verdict, found = place(residents, slot.gpu, host=host, index=slot.card.index, foreign=slot.foreign)
    for one, memory in zip(known, found, strict=True):
        before = memories.get(one.seat.name)
        if before is None or _badness(memory) > _badness(before):
            memories[one.seat.name] = memory
    if unknown:
        verdict = replace(
            verdict,
            uses=(*verdict.uses, *((one.seat.name, Bytes(0)) for one in unknown)),
            verdict=Verdict.worst([verdict.verdict, Verdict.UNKNOWN]),
            reasons=(*verdict.reasons, *(f"{one.seat.name}: its model's shape is not known" for one in unknown)),
        )
    return verdict


def _badness(memory: ReplicaMemory) -> tuple[int, int]:
    return list(Verdict).index(memory.verdict), -int(memory.margin)
