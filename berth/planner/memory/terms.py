"""The terms of one rank's memory for each engine: what loads, what peaks, what lies outside the budget."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory.activations import activations
from berth.planner.memory.process import adapters, communication, context, graphs, nccl_first, outside_torch
from berth.planner.memory.serving import Batch, Generation, Serving, batch_of, default_share, generation_of
from berth.planner.memory.weights import weights

__all__ = ["Footprint", "budget_of", "footprint", "share_of"]

_TGI_ROOM = 0.9
_COLD_COMPILE = Bytes.from_gib(0.2)
"""How much a first start with an empty compile cache may measure above later ones."""

_SGLANG_SHARE_MEMORY = (  # up to GiB of the card: chunk of prefill, largest captured batch (server_args.py)
    (20, 2048, 8), (35, 2048, 24), (60, 4096, 32), (90, 8192, 256), (160, 8192, 256), (float("inf"), 16384, 512),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one rank holds apart from its KV cache.

    What the engine takes off its own budget is marked so; the rest lies on top of it. `fragments_counted` says that
    free memory is read while torch still caches what the profile run left, which can be as much again;
    `compiled` that a first start compiles while it measures.
    """

    batch: Batch
    weights: Bytes
    adapters: Bytes
    activations: Bytes
    outside_torch: Bytes
    graphs: Bytes
    context: Bytes
    graphs_in_budget: bool
    context_in_budget: bool
    activations_in_budget: bool = True
    others_in_budget: bool = False
    fragments_counted: bool = False
    compiled: bool = False

    @property
    def counted(self) -> Bytes:
        """What the engine subtracts from its budget before the KV cache."""
        total = self.weights + self.adapters + self.outside_torch
        if self.activations_in_budget:
            total += self.activations
        if self.graphs_in_budget:
            total += self.graphs
        if self.context_in_budget:
            total += self.context
        return total

    @property
    def on_top(self) -> Bytes:
        """What the process holds beyond its budget."""
        total = Bytes(0)
        if not self.activations_in_budget:
            total += self.activations
        if not self.graphs_in_budget:
            total += self.graphs
        if not self.context_in_budget:
            total += self.context
        return total

    @property
    def uncertainty(self) -> Bytes:
        """How far the estimate of what is not cache may be off."""
        doubt = 0.01 * self.weights + 0.2 * self.activations + 0.5 * self.outside_torch
        if self.graphs_in_budget:
            doubt += 0.5 * self.graphs
        if self.fragments_counted:
            doubt += self.activations + Bytes.from_gib(0.4)
        if self.compiled:
            doubt += _COLD_COMPILE
        return Bytes(round(doubt)) + Bytes.from_gib(0.1)


def footprint(shape: ModelShape, serving: Serving, gpu: Gpu) -> Footprint:
    """Every term but the cache, for the serving's engine."""
    batch = _batch(shape, serving, gpu)
    generation = generation_of(serving.version, gpu) if serving.engine == "vllm" else Generation.V1
    vllm = serving.engine == "vllm"
    return Footprint(
        batch=batch,
        weights=weights(shape, serving, gpu),
        adapters=adapters(shape, serving),
        activations=activations(shape, serving, batch, gpu),
        outside_torch=outside_torch(serving, gpu, generation),
        graphs=graphs(shape, serving, batch, gpu),
        context=context(gpu) + (communication(serving, gpu, generation) if nccl_first(serving) else Bytes(0)),
        graphs_in_budget=serving.engine == "tgi" or (vllm and generation >= Generation.V1_GRAPHS),
        context_in_budget=serving.engine == "tgi" or generation is Generation.V1_DEVICE,
        activations_in_budget=serving.engine != "sglang",
        compiled=vllm and generation >= Generation.V1_DEVICE and not serving.enforce_eager,
        fragments_counted=generation is Generation.V0_DEVICE,
        others_in_budget=serving.engine == "tgi" or generation is Generation.V1_DEVICE,
    )


def _batch(shape: ModelShape, serving: Serving, gpu: Gpu) -> Batch:
    """The engine's batch. SGLang: prefill chunks by card; TGI: max_batch_prefill_tokens, max_input_tokens + 50."""
    if serving.engine == "vllm":
        return batch_of(shape, serving, gpu)
    if serving.engine == "tgi":
        return Batch(tokens=serving.max_num_batched_tokens or serving.context + 50, sequences=_sequences(serving, 32))
    chunk, largest = _sglang_chunk(gpu)
    return Batch(tokens=serving.max_num_batched_tokens or chunk, sequences=_sequences(serving, largest))


def _sequences(serving: Serving, default: int) -> int:
    return serving.max_num_seqs or serving.concurrency or default


def _sglang_chunk(gpu: Gpu) -> tuple[int, int]:
    return next((chunk, largest) for limit, chunk, largest in _SGLANG_SHARE_MEMORY if gpu.memory.gib < limit)


def budget_of(serving: Serving, gpu: Gpu, share: float, others: Bytes) -> Bytes:
    """What the share is a fraction of, and so how much the engine may use.

    vLLM: of the card's total (request_memory). SGLang: of what is free before it loads (model_runner.py,
    profile_max_num_token). TGI: of the total, of which it leaves a tenth (TGI_WIGGLE_ROOM, flash_causal_lm.py).
    """
    if serving.engine == "sglang":
        return Bytes(max(0, round((gpu.cuda_total - gpu.context - others) * share)))
    return Bytes(ceil(gpu.cuda_total * share * (_TGI_ROOM if serving.engine == "tgi" else 1)))


def share_of(serving: Serving, gpu: Gpu) -> float:
    """The share of the card's total: as given, else the engine's default.

    SGLang's mem_fraction_static holds weights and cache only; unset it leaves 1.5 MiB for each token of a prefill chunk
    and 2 MiB for each captured batch. TGI's --cuda-memory-fraction is 1.
    """
    if serving.share is not None:
        return serving.share
    if serving.engine == "vllm":
        return default_share(serving.version)
    if serving.engine == "tgi":
        return 1.0
    chunk, largest = _sglang_chunk(gpu)
    reserved = Bytes.from_mib(1.5 * (serving.max_num_batched_tokens or chunk) + 2 * largest)
    return max(0.1, round(1 - reserved / gpu.cuda_total, 3))
