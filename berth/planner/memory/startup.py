"""Whether the card has room when the engine starts: vLLM's own check of free memory, and the physical limit."""

from __future__ import annotations

from dataclasses import dataclass

from berth.catalogue.gpus import Gpu
from berth.catalogue.units import Bytes
from berth.planner.memory.serving import NOTHING, Generation, Serving, generation_of
from berth.planner.memory.terms import Footprint
from berth.planner.verdict import Verdict

__all__ = ["StartupCheck", "startup_check"]

_NOISE = Bytes.from_gib(0.15)
"""How far the free memory of a card may lie from what its processes explain (contexts differ by driver)."""


@dataclass(frozen=True, kw_only=True)
class StartupCheck:
    """The result: `free` is what the engine will find at least, `wanted` what it asks for."""

    verdict: Verdict
    free: Bytes
    wanted: Bytes
    margin: Bytes
    reason: str = ""


def startup_check(
    serving: Serving,
    gpu: Gpu,
    share: float,
    budget: Bytes,
    parts: Footprint,
    *,
    others: Bytes = NOTHING,
    others_least: Bytes = NOTHING,
) -> StartupCheck:
    """Compares free memory at the start with what the engine asks for.

    vLLM from 0.9.1 on refuses to start when free memory is below total x gpu_memory_utilization ("Free memory on
    device ... is less than desired GPU memory utilization", request_memory of v1/worker/utils.py); its own CUDA context
    is taken by then. Earlier versions and other engines have no such check: there the process must fit beside the
    others. What neighbours hold lies between `others_least` and `others`, since activations come and go.
    """
    held = others + gpu.context
    free, most_free = gpu.cuda_total - held, gpu.cuda_total - (others_least + gpu.context)
    checks = serving.engine == "vllm" and generation_of(serving.version, gpu) >= Generation.V1
    on_top = parts.on_top - (Bytes(0) if parts.context_in_budget else parts.context)
    if checks:
        wanted = Bytes(round(gpu.cuda_total * share))
        if serving.kv_cache_bytes is not None:
            wanted = Bytes(max(wanted, budget))
        reason = (
            f"at its start {free.gib:.2f} to {most_free.gib:.2f} GiB of {gpu.cuda_total.gib:.2f} are free (others hold "
            f"{others.gib:.2f}, its own CUDA context {gpu.context.gib:.2f}), and vLLM refuses to start below "
            f"{wanted.gib / gpu.cuda_total.gib:.3g} x total = {wanted.gib:.2f} GiB"
        )
    else:
        wanted = budget if not parts.others_in_budget else Bytes(0)
        reason = f"at its start {free.gib:.2f} GiB are free, {wanted.gib:.2f} are wanted"
    margin, best = free - wanted, most_free - wanted
    room = margin - on_top
    text = f"{reason}: margin {margin.gib:+.2f} to {best.gib:+.2f} GiB"
    if best < -_NOISE:
        verdict = Verdict.DOES_NOT_FIT
    elif margin < _NOISE:
        verdict = Verdict.TIGHT
    elif room < 0:
        verdict = Verdict.DOES_NOT_FIT if best - on_top < -(on_top // 2) - _NOISE else Verdict.TIGHT
        text = (
            f"{on_top.gib:.2f} GiB beyond the budget (CUDA graphs and the like) leave {room.gib:+.2f} GiB of the card; "
            "lower the share a little or set enforce_eager"
        )
    else:
        verdict, text = Verdict.FITS, ""
    return StartupCheck(verdict=verdict, free=free, wanted=wanted, margin=min(margin, room), reason=text)
