"""What would make a serving fit: up to three concrete changes, each planned again before it is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory.predict import largest_context, predict, smallest_share
from berth.planner.memory.serving import NOTHING, Serving
from berth.planner.verdict import ReplicaMemory, Verdict

__all__ = ["Alternative", "alternatives"]

_MOST = 3
_SHORTEST = 512
"""Contexts below this many tokens are not worth a suggestion."""


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A change in the words of a stack file, the serving it makes and what that takes; its verdict is `fits`."""

    text: str
    serving: Serving
    memory: ReplicaMemory


def alternatives(
    shape: ModelShape, serving: Serving, gpu: Gpu, others: Bytes = NOTHING, *, cards: int | None = None
) -> tuple[Alternative, ...]:
    """Changes with which the serving fits the card, the least drastic first.

    Args:
        shape: the model.
        serving: the serving that does not fit, or fits tightly.
        gpu: the card of each rank.
        others: what other processes hold on each card.
        cards: how many such cards the host has; more than one rank is suggested only up to that many.
    """
    found: list[Alternative] = []
    for text, changed in _candidates(shape, serving, gpu, others, cards or serving.tensor_parallel):
        memory = predict(shape, changed, gpu, others)
        if memory.verdict is Verdict.FITS:
            found.append(Alternative(text=text, serving=changed, memory=memory))
        if len(found) == _MOST:
            break
    return tuple(found)


def _candidates(
    shape: ModelShape, serving: Serving, gpu: Gpu, others: Bytes, cards: int
) -> Iterator[tuple[str, Serving]]:
    if serving.kv_cache_bytes is None:
        share = smallest_share(shape, serving, gpu)
        if share is not None and share != serving.share:
            yield f"set share to {share:g}", replace(serving, share=share)
    context = largest_context(shape, serving, gpu, others)
    if context is not None and _SHORTEST <= context < serving.context:
        yield f"set context to {context}", replace(serving, context=context)
    yield from _fewer_at_once(shape, serving, gpu, others)
    if serving.kv_cache_dtype == "auto" and gpu.fp8 and shape.quantization is None:
        yield "set kv_cache_dtype to fp8", replace(serving, kv_cache_dtype="fp8")
    for ranks in (2, 4, 8):
        if serving.tensor_parallel < ranks <= cards and shape.heads % ranks == 0:
            yield f"set tensor_parallel to {ranks}", replace(serving, tensor_parallel=ranks)
    if serving.quantization is None and shape.quantization is None and gpu.fp8:
        yield "set quantization to fp8", replace(serving, quantization="fp8")


def _fewer_at_once(shape: ModelShape, serving: Serving, gpu: Gpu, others: Bytes) -> Iterator[tuple[str, Serving]]:
    if serving.at_once <= 1:
        return
    held = int(predict(shape, serving, gpu, others).max_concurrency)
    for count in (held, held - 1):
        if 1 <= count < serving.at_once:
            yield f"set concurrency to {count}", replace(serving, concurrency=count)
