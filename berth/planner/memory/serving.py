"""What of a serving decides its memory, and the engine's own defaults for what is not said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from packaging.version import Version

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes

__all__ = ["Batch", "Generation", "Lora", "Serving", "batch_of", "default_share", "generation_of"]

NOTHING = Bytes(0)


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Adapters held at once (`max_loras`) and their largest rank."""

    adapters: int = 1
    rank: int = 16


@dataclass(frozen=True, kw_only=True)
class Serving:
    """One way of serving a model, as far as memory goes.

    Attributes:
        context: tokens of one request, the engine's max_model_len.
        concurrency: requests of full context that must fit at once; None asks for one only.
        max_num_seqs: the engine's own limit of running requests; None takes `concurrency`, then the engine's default.
        share: the engine's fraction of the card's total memory; None takes its default.
        kv_cache_bytes: the size of the KV cache where it is given in bytes instead (vLLM from 0.10.2).
        installation: how the engine is installed; images of vLLM bring FlashInfer, which packages had not until 0.11.1.
        images_per_prompt: images one prompt may hold; 0 leaves the vision tower unprofiled, None is the default.
        speculative_tokens: tokens a draft proposes per step; 0 without speculative decoding.
    """

    engine: Literal["vllm", "sglang", "tgi"] = "vllm"
    version: Version
    context: int
    concurrency: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    dtype: str = "auto"
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    enforce_eager: bool = False
    share: float | None = None
    kv_cache_bytes: Bytes | None = None
    block_size: int | None = None
    lora: Lora | None = None
    cpu_offload: Bytes = NOTHING
    images_per_prompt: int | None = None
    chunked_prefill: bool | None = None
    prefix_caching: bool | None = None
    speculative_tokens: int = 0
    installation: Literal["package", "image"] = "package"

    @property
    def at_once(self) -> int:
        """How many requests of full context the KV cache must hold."""
        return self.concurrency or 1


class Generation(IntEnum):
    """How a version of vLLM counts memory at start-up.

    Sources: vllm/worker/worker.py up to 0.10.2; vllm/v1/worker/gpu_worker.py and vllm/utils/mem_utils.py since 0.8.0.
    """

    V0_DEVICE = 0
    """Before 0.6.5: whatever is used on the card counts (init free memory minus free memory after profiling)."""
    V0 = 1
    """0.6.5 to 0.7, and old cards up to 0.10.1: this instance's own use counts (#10511)."""
    V1_DEVICE = 2
    """V1 of 0.8.0 to 0.9.0: everything on the card that is not this process's torch memory counts, others included."""
    V1 = 3
    """0.9.1 to 0.19: per instance from a snapshot (#19312), with a check of free memory before loading."""
    V1_GRAPHS = 4
    """0.20 to 0.23: as V1, and an estimate of CUDA graph memory is taken off."""
    V1_CONSUMED = 5
    """From 0.24: what left the card's free memory since the snapshot, plus the transient peak, plus graphs."""


_V1 = Version("0.8.0")
_PER_INSTANCE_V0 = Version("0.6.5")
_SNAPSHOT = Version("0.9.1")
_TURING_V1 = Version("0.10.2")
_GRAPHS = Version("0.20.0")
_CONSUMED = Version("0.24.0")
_A100_SMALL = Version("0.9.0")
_SEQS_BY_CARD = Version("0.8.4")
_HUGE_CARDS = Version("0.17.0")
_ALL_CARDS = Version("0.29.0")
"""Start-up logs of late 2026 show 8192 tokens on smaller cards, too."""
_V0_CHUNKS_ABOVE = 32768

BIG_CARD = Bytes.from_gib(70)
HUGE_CARD = Bytes.from_gib(160)


def generation_of(version: Version, gpu: Gpu) -> Generation:
    """The accounting of a vLLM version on a card; cards before Ampere stayed with V0 until 0.10.2 (#24022)."""
    if version >= _GRAPHS:
        return Generation.V1_CONSUMED if version >= _CONSUMED else Generation.V1_GRAPHS
    if version < _V1 or (version < _TURING_V1 and gpu.compute_capability < (8, 0)):
        return Generation.V0 if version >= _PER_INSTANCE_V0 else Generation.V0_DEVICE
    return Generation.V1 if version >= _SNAPSHOT else Generation.V1_DEVICE


def default_share(version: Version) -> float:
    """The default of gpu_memory_utilization in vLLM: 0.90, from 0.20.0 on 0.92 (vllm/config/cache.py)."""
    return 0.92 if version >= _GRAPHS else 0.9


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step may hold at most: `tokens` of all requests, `sequences` of them."""

    tokens: int
    sequences: int


def batch_of(shape: ModelShape, serving: Serving, gpu: Gpu) -> Batch:
    """max_num_batched_tokens and max_num_seqs with vLLM's defaults for its server.

    Source: vllm/engine/arg_utils.py, EngineArgs.get_batch_defaults and _set_default_args_v1; the table by memory and
    name came with 0.8.0, was narrowed by #16158 (0.8.4) and #17885 (0.9.0). V0: one prompt of full length, or chunks of
    2048 above a context of 32768.
    """
    sequences = serving.max_num_seqs or serving.concurrency
    tokens = serving.max_num_batched_tokens
    if generation_of(serving.version, gpu) <= Generation.V0:
        chunked = serving.chunked_prefill
        if chunked is None:
            chunked = serving.context > _V0_CHUNKS_ABOVE and not shape.multimodal and serving.lora is None
        default_tokens = 2048 if chunked else max(serving.context, 2048)
        return Batch(tokens=tokens or default_tokens, sequences=sequences or 256)
    big = gpu.cuda_total >= BIG_CARD and (serving.version < _A100_SMALL or not gpu.a100)
    default_tokens, default_sequences = (8192, 1024) if big else (2048, 256)
    if serving.version >= _ALL_CARDS:
        default_tokens = 8192
    if gpu.cuda_total >= HUGE_CARD and serving.version >= _HUGE_CARDS:
        default_tokens = 16384
    if serving.version < _SEQS_BY_CARD:
        default_sequences = 1024
    sequences = sequences or default_sequences
    if tokens is None:
        tokens = default_tokens
        if serving.chunked_prefill is False:
            tokens = max(tokens, serving.context)
        tokens = max(tokens, _largest_item(shape, serving))
        tokens = max(sequences, min(tokens, sequences * serving.context))
    return Batch(tokens=tokens, sequences=sequences)


def _largest_item(shape: ModelShape, serving: Serving) -> int:
    """Models that see an image in both directions take it whole: the batch grows to the largest one (Gemma 3, 4)."""
    if shape.vision is None or serving.images_per_prompt == 0 or not shape.architecture.startswith("Gemma"):
        return 0
    return shape.vision.patches // shape.vision.merge
