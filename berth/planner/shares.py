"""The shares and caches that a stack file leaves to the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor

from packaging.version import Version

from berth.catalogue.units import Bytes
from berth.planner.cards import Slot
from berth.planner.memory import footprint, kv_bytes_for, predict, smallest_share
from berth.planner.servings import Sized, by_card

_NOTHING = Bytes(0)

_KV_IN_BYTES = Version("0.10.2")
"""The first vLLM with --kv-cache-memory-bytes (#21489)."""

_RESERVE = 0.03
"""What the planner leaves of a card when it divides the rest, as part of its total."""

_GRAIN = 16 * 2**20
"""KV caches are given in steps of 16 MiB: a plan is easier to compare when small changes change nothing."""

_QUIET = 0.02
"""Foreign use of a card below this part of its total is a display or a driver, not a neighbour."""


def chosen(started: Sequence[Sized], slots: Mapping[str, tuple[Slot, ...]]) -> list[Sized]:
    """Replicas with the shares that the planner chooses for those that have none."""
    on_card = by_card(started)
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
        given = one.seat.spec.kv_cache
        left[number] = _with_cache(one, _needed(one) if given is None else given)
        if one.seat.spec.concurrency is None and given is None:
            open_ones.append(number)
    return _beside(_grown(left, open_ones, foreign), foreign)


def _left_open(one: Sized) -> bool:
    """Whether the planner chooses the share: none is said, and no cache either but for a vLLM that checks its share."""
    serving = one.serving
    if serving is None or serving.share is not None or one.seat.on_cluster:
        return False
    return serving.kv_cache_bytes is None or (serving.engine == "vllm" and serving.version >= _KV_IN_BYTES)


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


def _beside(started: list[Sized], foreign: Mapping[tuple[str, int], Bytes]) -> list[Sized]:
    """Raises chosen shares of engines that take what others hold off their own, in the order of starts."""
    if not any(one.chosen and one.serving is not None and one.serving.kv_cache_bytes is None for one in started):
        return started  # a cache in bytes is taken off nothing
    held = {card: int(size) for card, size in foreign.items()}
    found: list[Sized] = []
    for one in started:
        cards = [(one.seat.host, index) for index in one.seat.cards]
        before = Bytes(max((held[card] for card in cards), default=0))
        raised = _raised(one, before) if one.chosen and before else one
        for card in cards:
            held[card] += _footing(raised, before)
        found.append(raised)
    return found


def _raised(one: Sized, before: Bytes) -> Sized:
    if one.serving is None or one.serving.share is None or one.serving.kv_cache_bytes is not None:
        return one
    if one.shape is None or one.gpu is None:
        return one
    alone = predict(one.shape, one.serving, one.gpu).smallest_share
    beside = predict(one.shape, one.serving, one.gpu, before).smallest_share
    if alone is None or beside is None or beside <= alone:
        return one
    share = min(round(one.serving.share + beside - alone, 3), 1.0)
    return replace(one, serving=replace(one.serving, share=share))


def _footing(one: Sized, others: Bytes = _NOTHING) -> int:
    """What a replica holds of a card as it is sized so far."""
    if one.shape is None or one.serving is None or one.gpu is None:
        return 0
    return int(predict(one.shape, one.serving, one.gpu, others).used)
