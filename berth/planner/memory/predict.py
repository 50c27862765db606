"""One replica on one kind of card: its memory by terms, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.models.quantization import named
from berth.catalogue.units import Bytes
from berth.planner.memory.cache import bytes_per_request, pool_of
from berth.planner.memory.serving import NOTHING, Serving
from berth.planner.memory.startup import StartupCheck, startup_check
from berth.planner.memory.terms import Footprint, budget_of, footprint, share_of
from berth.planner.verdict import ReplicaMemory, Term, Verdict

__all__ = ["largest_context", "predict", "smallest_share"]

_STEP = 0.005
"""Shares are suggested in steps of half a percent, rounded up."""

_SOURCES = {
    "weights": "parameters of the architecture x bytes of the weight format, per rank",
    "stored": "safetensors headers of the checkpoint, per rank",
    "adapters": "adapters x rank x (inputs + outputs) of the linear layers x 2 bytes",
    "activations": "largest of forward pass, sampler and vision tower in the engine's profile run",
    "outside torch": "kernels, cuBLAS and NCCL, as start-up logs show",
    "CUDA graphs": "captured batch sizes x layers, as start-up logs show",
    "CUDA context": "total minus free memory of an idle process on this card",
    "KV cache": "layers x 2 x KV heads x head size x bytes of the cache type, in blocks",
}


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    """The numbers behind a verdict."""

    parts: Footprint
    share: float
    budget: Bytes
    available: Bytes
    request: int
    check: StartupCheck


def predict(
    shape: ModelShape,
    serving: Serving,
    gpu: Gpu,
    others: Bytes = NOTHING,
    *,
    others_least: Bytes | None = None,
) -> ReplicaMemory:
    """The memory of one rank of a replica and the verdict on it.

    Args:
        shape: the model.
        serving: how it is served.
        gpu: the card of each rank.
        others: what other processes hold on that card when this one starts, at most.
        others_least: the same at least; taken as `others` when it is not known to differ.
    """
    estimate = _estimate(shape, serving, gpu, others, others if others_least is None else others_least)
    parts = estimate.parts
    pool = pool_of(shape, serving, estimate.available, parts.batch.tokens)
    terms = _terms(shape, parts, estimate.available)
    needed = Bytes(serving.at_once * estimate.request)
    verdict, reasons, margin = _judge(shape, serving, estimate)
    used = Bytes(sum(term.size for term in terms))
    return ReplicaMemory(
        terms=terms,
        used=used,
        budget=estimate.budget,
        available_kv=estimate.available,
        kv_tokens=pool.tokens,
        max_concurrency=pool.requests,
        share=estimate.share,
        smallest_share=_smallest(serving, estimate, needed, gpu, others),
        verdict=verdict,
        reasons=reasons,
        least=used - parts.activations,
        needed_kv=needed,
        margin=margin,
    )


def smallest_share(shape: ModelShape, serving: Serving, gpu: Gpu) -> float | None:
    """The least share, in steps of 0.005, that serves the declared context and concurrency; None when none does."""
    estimate = _estimate(shape, serving, gpu, Bytes(0), Bytes(0))
    return _smallest(serving, estimate, Bytes(serving.at_once * estimate.request), gpu, NOTHING)


def largest_context(shape: ModelShape, serving: Serving, gpu: Gpu, others: Bytes = NOTHING) -> int | None:
    """The longest context, in steps of 256 tokens, with which the serving fits; None when not even 256 do.

    Every context that this returns gives the verdict `fits` when it is planned again.
    """
    low, high = 0, min(serving.context, 2**22) // 256
    while low < high:
        middle = (low + high + 1) // 2
        if predict(shape, replace(serving, context=middle * 256), gpu, others).verdict is Verdict.FITS:
            low = middle
        else:
            high = middle - 1
    return low * 256 or None


def _estimate(shape: ModelShape, serving: Serving, gpu: Gpu, others: Bytes, least: Bytes) -> _Estimate:
    parts = footprint(shape, serving, gpu)
    share = share_of(serving, gpu)
    request = bytes_per_request(shape, serving, serving.context, parts.batch.tokens)
    if serving.kv_cache_bytes is not None:
        available = serving.kv_cache_bytes
        budget = parts.counted + available
    else:
        budget = budget_of(serving, gpu, share, others)
        charged = others if parts.others_in_budget else Bytes(0)
        available = budget - parts.counted - charged
    check = startup_check(serving, gpu, share, budget, parts, others=others, others_least=least)
    return _Estimate(parts=parts, share=share, budget=budget, available=available, request=request, check=check)


def _terms(shape: ModelShape, parts: Footprint, available: Bytes) -> tuple[Term, ...]:
    sizes = {
        "weights": parts.weights,
        "adapters": parts.adapters,
        "activations": parts.activations,
        "outside torch": parts.outside_torch,
        "CUDA graphs": parts.graphs,
        "KV cache": Bytes(max(0, available)),
        "CUDA context": parts.context,
    }
    sources = {**_SOURCES, "weights": _SOURCES["stored" if shape.stored else "weights"]}
    return tuple(Term(name=name, size=size, source=sources[name]) for name, size in sizes.items() if size)


def _smallest(serving: Serving, estimate: _Estimate, needed: Bytes, gpu: Gpu, others: Bytes) -> float | None:
    parts = estimate.parts
    whole = budget_of(serving, gpu, 1.0, others)
    charged = others if parts.others_in_budget else 0
    if not whole:
        return None
    share = ceil((parts.counted + needed + parts.uncertainty + charged) / whole / _STEP) * _STEP
    room = (gpu.cuda_total - parts.on_top) / whole
    return round(share, 3) if share <= min(room, 1.0) else None


def _judge(shape: ModelShape, serving: Serving, estimate: _Estimate) -> tuple[Verdict, tuple[str, ...], Bytes]:
    """The worst of all respects, with a reason for each that is not plainly met."""
    unknown = tuple(_unknown(shape, serving))
    found = [
        *_cache_verdicts(serving, estimate),
        (estimate.check.verdict, estimate.check.reason, estimate.check.margin),
    ]
    verdict = Verdict.worst(entry[0] for entry in found)
    margin = min(entry[2] for entry in found)
    reasons = tuple(reason for state, reason, _ in found if state is not Verdict.FITS and reason)
    if unknown:
        return Verdict.UNKNOWN, unknown + reasons, margin
    return verdict, reasons, margin


def _cache_verdicts(serving: Serving, estimate: _Estimate) -> Iterator[tuple[Verdict, str, Bytes]]:
    """One request must fit the cache for the engine to start; the declared concurrency should."""
    doubt = estimate.parts.uncertainty if serving.kv_cache_bytes is None else Bytes(0)
    available, one = estimate.available, Bytes(estimate.request)
    margin = available - one
    text = (
        f"one request of {serving.context} tokens needs {one.gib:.2f} GiB of KV cache, {available.gib:.2f} GiB are "
        f"left of a budget of {estimate.budget.gib:.2f} GiB (give or take {doubt.gib:.2f})"
    )
    if margin < -doubt:
        yield Verdict.DOES_NOT_FIT, text, margin
        return
    if margin < doubt:
        yield Verdict.TIGHT, text, margin
        return
    yield Verdict.FITS, "", margin
    whole = Bytes(serving.at_once * estimate.request)
    if available < whole:
        held = available / estimate.request
        yield (
            Verdict.TIGHT,
            f"the KV cache holds {held:.1f} of {serving.at_once} requests of {serving.context} tokens; others wait",
            available - whole,
        )


def _unknown(shape: ModelShape, serving: Serving) -> Iterator[str]:
    yield from shape.unknown
    if serving.quantization and shape.quantization is None and named(serving.quantization) is None:
        yield f"quantization {serving.quantization} has no size known to Berth"
    if serving.engine == "vllm" and serving.kv_cache_dtype.startswith(("turboquant", "nvfp4", "int4")):
        yield f"the layout of KV cache type {serving.kv_cache_dtype} is not known to Berth"
