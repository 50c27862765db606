"""The memory of every replica on its cards: shares that the planner chooses, start order, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any

from packaging.version import Version

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.cards import Slot
from berth.planner.memory import Lora, Resident, Serving, footprint, kv_bytes_for, place, smallest_share
from berth.planner.memory.weights import weights
from berth.planner.placement import Seat
from berth.planner.plan import Card
from berth.planner.verdict import CardVerdict, ReplicaMemory, Verdict
from berth.spec.models import Revision

_KV_IN_BYTES = Version("0.10.2")
"""The first vLLM with --kv-cache-memory-bytes (#21489)."""

_RESERVE = 0.03
"""What the planner leaves of a card when it divides the rest, as part of its total."""

_GRAIN = 16 * 2**20
"""KV caches are given in steps of 16 MiB: a plan is easier to compare when small changes change nothing."""

_QUIET = 0.02
"""Foreign use of a card below this part of its total is a display or a driver, not a neighbour."""


@dataclass(frozen=True, kw_only=True)
class Sized:
    """One replica with what was decided about its memory; None where nothing is known or nothing is to be decided."""

    seat: Seat
    version: str
    shape: ModelShape | None
    gpu: Gpu | None = None
    serving: Serving | None = None
    chosen: bool = False
    memory: ReplicaMemory | None = None


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
    started = _chosen(started, slots)
    there = _by_card(started)
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
    return tuple(replace(one, memory=memories.get(one.seat.name)) for one in started), tuple(verdicts)


def value_of(spec: Revision, *names: str) -> Any:
    """The value of an engine's own flag under any of its names; None when the stack file says nothing."""
    said = {name.removeprefix("--").replace("-", "_"): value for name, value in spec.args.items()}
    return next((said[name] for name in names if said.get(name) is not None), None)


def share_of(spec: Revision, profile: str) -> float | None:
    """The share that the stack file gives, under the profile."""
    return spec.share.get(profile) if isinstance(spec.share, Mapping) else spec.share


def _start(seat: Seat, version: str, shape: ModelShape | None, gpu: Gpu | None, profile: str) -> Sized:
    if gpu is None or shape is None or seat.spec.engine.device == "cpu":
        return Sized(seat=seat, version=version, shape=shape, gpu=None if seat.spec.engine.device == "cpu" else gpu)
    serving = serving_of(seat, version, shape, profile)
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


def serving_of(seat: Seat, version: str, shape: ModelShape, profile: str) -> Serving:
    """What of a replica decides its memory."""
    spec = seat.spec
    lora = Lora(adapters=spec.lora.max_loras, rank=spec.lora.max_rank) if spec.lora is not None else None
    return Serving(
        engine=spec.engine.name,
        version=Version(version),
        context=spec.context or _whole(value_of(spec, "max_model_len", "context_length")) or shape.max_context,
        concurrency=spec.concurrency,
        max_num_seqs=_whole(value_of(spec, "max_num_seqs", "max_running_requests")),
        max_num_batched_tokens=_whole(
            value_of(spec, "max_num_batched_tokens", "chunked_prefill_size", "max_batch_prefill_tokens")
        ),
        dtype=spec.dtype,
        quantization=spec.quantization,
        kv_cache_dtype=spec.kv_cache_dtype or "auto",
        tensor_parallel=seat.tensor,
        pipeline_parallel=seat.pipeline,
        enforce_eager=value_of(spec, "enforce_eager", "disable_cuda_graph") is True,
        share=share_of(spec, profile),
        kv_cache_bytes=spec.kv_cache if spec.engine.name == "vllm" else None,
        block_size=_whole(value_of(spec, "block_size")),
        lora=lora,
        cpu_offload=spec.cpu_offload or Bytes(0),
        images_per_prompt=spec.images_per_prompt,
        chunked_prefill=_switch(value_of(spec, "enable_chunked_prefill")),
        prefix_caching=_switch(value_of(spec, "enable_prefix_caching")),
        speculative_tokens=_drafted(spec),
        installation="image" if seat.in_container or spec.engine.image is not None else "package",
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _drafted(spec: Revision) -> int:
    """Tokens that speculative decoding proposes per step."""
    config = value_of(spec, "speculative_config")
    named = config.get("num_speculative_tokens") if isinstance(config, Mapping) else None
    return _whole(named) or _whole(value_of(spec, "spec_tokens", "num_speculative_tokens")) or 0


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _weights(one: Sized) -> int:
    if one.serving is None or one.shape is None or one.gpu is None:
        return 0
    return int(weights(one.shape, one.serving, one.gpu))


def _by_card(started: Sequence[Sized]) -> Mapping[tuple[str, int], list[Sized]]:
    """Who is on each card, in start order."""
    found: dict[tuple[str, int], list[Sized]] = {}
    for one in started:
        for index in one.seat.cards:
            found.setdefault((one.seat.host, index), []).append(one)
    return found


def _chosen(started: Sequence[Sized], slots: Mapping[str, tuple[Slot, ...]]) -> list[Sized]:
    """Replicas with the shares that the planner chooses for those that have none."""
    on_card = _by_card(started)
    foreign = {(host, slot.card.index): slot.foreign for host, cards in slots.items() for slot in cards}
    left = list(started)
    open_ones: list[int] = []
    for number, one in enumerate(started):
        cards = [(one.seat.host, index) for index in one.seat.cards]
        if not _left_open(one) or one.gpu is None:
            continue
        alone = all(len(on_card[card]) == 1 and foreign[card] < _QUIET * one.gpu.cuda_total for card in cards)
        if alone:
            continue
        left[number] = _with_cache(one, _needed(one))
        if one.seat.spec.concurrency is None:
            open_ones.append(number)
    return _grown(left, open_ones, foreign)


def _left_open(one: Sized) -> bool:
    serving = one.serving
    return serving is not None and serving.share is None and serving.kv_cache_bytes is None and not one.seat.on_cluster


def _needed(one: Sized) -> Bytes:
    if one.shape is None or one.serving is None or one.gpu is None:
        return Bytes(0)
    batch = footprint(one.shape, one.serving, one.gpu).batch
    return kv_bytes_for(one.shape, one.serving, one.serving.context, one.serving.at_once, batch.tokens)


def _with_cache(one: Sized, cache: Bytes) -> Sized:
    """A replica whose KV cache is given: in bytes where its engine takes that, as a share elsewhere."""
    if one.shape is None or one.serving is None or one.gpu is None:
        return one
    parts = footprint(one.shape, one.serving, one.gpu)
    cache = Bytes(-(-int(cache) // _GRAIN) * _GRAIN)
    if one.serving.engine == "vllm" and one.serving.version >= _KV_IN_BYTES:
        share = floor((parts.counted + cache) / one.gpu.cuda_total * 1000) / 1000
        return replace(one, serving=replace(one.serving, kv_cache_bytes=cache, share=min(share, 1.0)), chosen=True)
    least = smallest_share(one.shape, one.serving, one.gpu)
    wanted = (parts.counted + cache + parts.uncertainty) / one.gpu.cuda_total
    share = max(least or 0.0, floor(wanted * 200) / 200)
    return replace(one, serving=replace(one.serving, share=min(share, 1.0)), chosen=True)


def _grown(started: list[Sized], open_ones: Sequence[int], foreign: Mapping[tuple[str, int], Bytes]) -> list[Sized]:
    """Divides what is left of each card among the replicas that said no concurrency."""
    if not open_ones:
        return started
    held: dict[tuple[str, int], int] = {}
    sharers: dict[tuple[str, int], int] = {}
    for number, one in enumerate(started):
        for index in one.seat.cards:
            card = (one.seat.host, index)
            held[card] = held.get(card, 0) + _footing(one)
            sharers[card] = sharers.get(card, 0) + (number in open_ones)
    grown = list(started)
    for number in open_ones:
        one = started[number]
        gpu = one.gpu
        if gpu is None or one.serving is None:
            continue
        cards = [(one.seat.host, index) for index in one.seat.cards]
        room = min(
            (int(gpu.cuda_total * (1 - _RESERVE)) - foreign[card] - held[card]) // sharers[card] for card in cards
        )
        if room > _GRAIN:
            cache = Bytes((int(_needed(one)) + room) // _GRAIN * _GRAIN)
            bare = replace(one, serving=replace(one.serving, share=None, kv_cache_bytes=None))
            grown[number] = _with_cache(bare, cache)
    return grown


def _footing(one: Sized) -> int:
    """What a replica holds of a card as it is sized so far."""
    if one.shape is None or one.serving is None or one.gpu is None:
        return 0
    _, (memory,) = place([Resident(name="", shape=one.shape, serving=one.serving)], one.gpu)
    return int(memory.used)


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
