"""Changes that would make a stack fit, each one planned again before it is suggested."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from berth.catalogue.units import Bytes
from berth.planner.plan import Note, Plan, ReplicaPlan, Severity
from berth.planner.verdict import CardVerdict, Verdict
from berth.spec.models import Revision
from berth.spec.stack import Stack

_MOST = 3
"""Suggestions for one card: more is no help."""

_SPARE = Bytes.from_gib(0.2)
"""What a lowered share leaves of the card: as much as the estimate may be off."""

_TRIES = 3
"""Contexts that are tried, each shorter than the one before."""

_CONTEXTS = (131072, 98304, 65536, 49152, 32768, 24576, 16384, 12288, 8192, 6144, 4096, 3072, 2048, 1536, 1024, 512)


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A change in words and the stack it gives; `kind` tells changes of one sort, of which one is enough."""

    kind: str
    text: str
    stack: Stack


Again = Callable[[Stack], Plan]


def with_suggestions(stack: Stack, decided: Plan, again: Again) -> Plan:
    """The plan, with what would help on every card that does not fit."""
    cards: list[CardVerdict] = []
    hints: dict[str, str] = {}
    for card in decided.cards:
        if card.verdict is not Verdict.DOES_NOT_FIT:
            cards.append(card)
            continue
        found = tuple(suggestions(stack, decided, card, again))
        cards.append(replace(card, suggestions=tuple(one.text for one in found)))
        if found:
            names = [name for name, _ in card.uses]
            hints |= dict.fromkeys(
                (name for name in names if name not in hints), " or ".join(one.text for one in found)
            )
    return replace(decided, cards=tuple(cards), notes=tuple(_hinted(note, decided, hints) for note in decided.notes))


def suggestions(stack: Stack, decided: Plan, card: CardVerdict, again: Again) -> Iterator[Suggestion]:
    """Up to three changes of different kinds after which the card fits and nothing else is worse.

    Those that leave room come first; where there are none, those that fit tightly are given.
    """
    tight: list[Suggestion] = []
    given: set[str] = set()
    for candidate in _candidates(stack, decided, card):
        if candidate.kind in given:
            continue
        verdict = _verdict(decided, card, again(candidate.stack))
        if verdict is Verdict.FITS:
            given.add(candidate.kind)
            yield candidate
        elif verdict is Verdict.TIGHT and candidate.kind not in {held.kind for held in tight}:
            tight.append(candidate)
        if len(given) == _MOST:
            return
    if not given:
        yield from tight[:_MOST]


def _verdict(before: Plan, card: CardVerdict, after: Plan) -> Verdict:
    """The card after a change; a change that causes another refusal, or cures none, does not fit."""
    worse = {note.where for note in after.refusals} - {note.where for note in before.refusals}
    if worse or len(after.refusals) >= len(before.refusals):
        return Verdict.DOES_NOT_FIT
    there = (one.verdict for one in after.cards if (one.host, one.index) == (card.host, card.index))
    return next(there, Verdict.FITS)


def _hinted(note: Note, decided: Plan, hints: Mapping[str, str]) -> Note:
    if note.severity is not Severity.REFUSAL or "does not fit" not in note.text:
        return note
    for replica in decided.replicas:
        where = f".{replica.model}"
        if replica.name in hints and f"{note.where} ".startswith((f"models{where} ", f"models{where}.")):
            return replace(note, text=f"{note.text}; {hints[replica.name]}")
    return note


def _candidates(stack: Stack, decided: Plan, card: CardVerdict) -> Iterator[Suggestion]:
    """Changes in the order in which people would want them, not yet checked."""
    there = [
        replica
        for replica in decided.replicas
        if replica.host == card.host
        and (card.index in replica.cards or not replica.cards)
        and replica.memory is not None
    ]
    failing = [one for one in there if one.memory is not None and one.memory.verdict is Verdict.DOES_NOT_FIT]
    for one in failing:
        yield from _less(stack, one, card)
        yield from _shares(stack, one, there)
    if len(failing) > 0 and len(there) > 1:
        yield from _all_shares(stack, there)
    for one in failing:
        yield from _contexts(stack, one)
        yield from _places(stack, one, decided)
        yield from _cache_types(stack, one)


def _less(stack: Stack, one: ReplicaPlan, card: CardVerdict) -> Iterator[Suggestion]:
    """As much less for the replica as the card lacks, where that is still enough for it."""
    if _spec(stack, one).share is None or one.memory is None or card.free >= 0:
        return
    share = math.floor((one.memory.share - (_SPARE - card.free) / card.total) * 100) / 100
    if share >= (one.memory.smallest_share or 1):
        yield _edit(stack, one, f"lower the share of {one.model} to {share:g}", share=share)


def _shares(stack: Stack, one: ReplicaPlan, there: list[ReplicaPlan]) -> Iterator[Suggestion]:
    """Another share for the replica, or a smaller one for a neighbour."""
    if _spec(stack, one).share is not None and one.memory is not None:
        least = one.memory.smallest_share
        if least is not None and not math.isclose(least, one.memory.share):
            yield _edit(stack, one, f"set the share of {one.model} to {_up(least):g}", share=_up(least))
    for other in sorted(there, key=lambda held: -held.memory.used if held.memory is not None else 0):
        if other is one or other.memory is None or _spec(stack, other).share is None:
            continue
        least = other.memory.smallest_share
        if least is not None and _up(least) < other.memory.share:
            text = f"lower the share of {other.model} to {_up(least):g}"
            yield _edit(stack, other, text, share=_up(least))


def _all_shares(stack: Stack, there: list[ReplicaPlan]) -> Iterator[Suggestion]:
    """The smallest shares that satisfy every model on the card, or none at all."""
    changed, words = stack, []
    for one in there:
        least = one.memory.smallest_share if one.memory is not None else None
        if least is None or _spec(stack, one).share is None:
            continue
        changed = _changed(changed, one, share=_up(least))
        words.append(f"{one.model} to {_up(least):g}")
    if len(words) > 1:
        yield Suggestion(kind="shares", text=f"set the shares of {', '.join(words)}", stack=changed)
    free = stack
    for one in there:
        free = _changed(free, one, share=None)
    if any(_spec(stack, one).share is not None for one in there):
        names = ", ".join(dict.fromkeys(one.model for one in there))
        yield Suggestion(kind="free", text=f"leave out the shares of {names}, so that the planner chooses", stack=free)


def _contexts(stack: Stack, one: ReplicaPlan) -> Iterator[Suggestion]:
    """Shorter contexts where one request does not fit the cache, the longest first; and fewer requests at a time."""
    spec, memory = _spec(stack, one), one.memory
    if memory is not None and memory.max_concurrency < 1:
        shorter = [
            context for context in (_room(memory.kv_tokens), *_CONTEXTS) if 0 < context <= _room(memory.kv_tokens)
        ]
        for context in shorter[:_TRIES]:
            yield _edit(stack, one, f"lower the context of {one.model} to {context}", context=context)
    if spec.concurrency is not None and spec.concurrency > 1:
        fewer = max(1, spec.concurrency // 2)
        yield _edit(stack, one, f"lower the concurrency of {one.model} to {fewer}", concurrency=fewer)


def _room(tokens: int) -> int:
    """What of a cache one request may take: downwards to a multiple of 256, less what the estimate may be off."""
    return int(tokens * 0.9) // 256 * 256


def _places(stack: Stack, one: ReplicaPlan, decided: Plan) -> Iterator[Suggestion]:
    """Another card of the host, or two of them for one replica."""
    spec = _spec(stack, one)
    host = decided.hosts.get(one.host)
    if host is None or len(spec.place) != 1 or spec.place[0].replicas != 1 or spec.place[0].host is None:
        return
    place = spec.place[0]
    free = {card.index: card.free for card in decided.cards if card.host == one.host}
    if len(one.cards) == 1:
        for index in sorted(free, key=lambda index: -free[index]):
            if index not in one.cards:
                moved = place.model_copy(update={"gpus": (index,)})
                yield _edit(stack, one, f"move {one.model} to gpu {index} of {one.host}", place=(moved,))
                break
    for cards in (2, 4, 8):
        if len(one.cards) < cards <= len(host.cards):
            wider = place.model_copy(update={"gpus": cards})
            parallel = spec.parallel.model_copy(update={"tensor": cards, "pipeline": 1})
            text = f"spread {one.model} over {cards} gpus (parallel tensor {cards})"
            yield _edit(stack, one, text, place=(wider,), parallel=parallel)


def _cache_types(stack: Stack, one: ReplicaPlan) -> Iterator[Suggestion]:
    if one.engine.name == "vllm" and _spec(stack, one).kv_cache_dtype is None:
        yield _edit(stack, one, f"keep the KV cache of {one.model} in fp8 (kv_cache_dtype)", kv_cache_dtype="fp8")


def _spec(stack: Stack, one: ReplicaPlan) -> Revision:
    return stack.models[one.model].revisions[one.revision]


def _edit(stack: Stack, one: ReplicaPlan, text: str, **update: object) -> Suggestion:
    kind = f"{one.model} {' '.join(sorted(update))}"
    return Suggestion(kind=kind, text=text, stack=_changed(stack, one, **update))


def _changed(stack: Stack, one: ReplicaPlan, **update: object) -> Stack:
    """The stack with some keys of one revision changed."""
    model = stack.models[one.model]
    revision = model.revisions[one.revision].model_copy(update=update)
    revisions = {**model.revisions, one.revision: revision}
    return stack.model_copy(
        update={"models": {**stack.models, one.model: model.model_copy(update={"revisions": revisions})}}
    )


def _up(share: float) -> float:
    return math.ceil(round(share * 100, 6)) / 100
