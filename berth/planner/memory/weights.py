"""Weights on one rank: counted by part, because each part is split and quantized in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape, Quantization
from berth.catalogue.models.quantization import named
from berth.catalogue.units import Bytes
from berth.planner.memory.serving import Serving

__all__ = ["Parameters", "element_size", "parameters", "quantization_of", "weights"]

_VOCAB_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this (vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE)."""

_ROUNDING = Bytes.from_gib(0.03)
"""Allocator rounding, index buffers and the like: printed weights exceed parameters and rotary tables by 0-0.06 GiB."""

_SIZES = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers of parameters of a whole model, by part. `keys_values` are the projections to keys and values."""

    embedding: int
    head: int
    queries: int
    keys_values: int
    latent_shared: int
    mlp: int
    experts: int
    shared_experts: int
    recurrent: int
    vision: int
    replicated: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, name) for name in self.__dataclass_fields__)


@lru_cache(maxsize=4096)
def parameters(shape: ModelShape) -> Parameters:
    """The parameters of a decoder from its shape, as `transformers` builds the layers.

    Norms, routers and biases of row-parallel layers lie on every rank, the rest is divided.
    """
    queries = keys_values = norms = 0
    for part in shape.attention:
        width = part.heads * part.head_dim
        queries += part.count * shape.hidden * width * (3 if part.gated else 2)
        one = shape.hidden * part.kv_heads * part.head_dim
        keys_values += part.count * one * (1 if part.key_is_value else 2)
        if shape.biased:
            keys_values += part.count * 2 * part.kv_heads * part.head_dim
            queries += part.count * width
        norms += part.count * 2 * part.head_dim
    latent = _latent(shape)
    experts = shape.experts
    routed = shared = router = 0
    if experts:
        routed = experts.layers * experts.count * shape.mlp_matrices * shape.hidden * experts.intermediate
        if experts.biased:
            routed += experts.layers * experts.count * (2 * experts.intermediate + shape.hidden)
        shared = experts.layers * shape.mlp_matrices * shape.hidden * experts.shared
        router = experts.layers * (experts.count + (1 if experts.shared else 0)) * shape.hidden
    embedding = shape.vocab * shape.hidden
    return Parameters(
        embedding=embedding,
        head=0 if shape.tied else embedding,
        queries=queries + latent[0],
        keys_values=keys_values,
        latent_shared=latent[1],
        mlp=shape.dense_layers * shape.mlp_matrices * shape.hidden * shape.intermediate,
        experts=routed,
        shared_experts=shared,
        recurrent=sum(part.count * part.parameters for part in shape.recurrent),
        vision=shape.vision.parameters if shape.vision else 0,
        replicated=(2 * shape.layers + 1) * shape.hidden + norms + router + shape.extra,
    )


def _latent(shape: ModelShape) -> tuple[int, int]:
    """Latent attention: what tensor parallelism divides, and the down projections that every rank holds."""
    part = shape.latent
    if part is None:
        return 0, 0
    width = part.heads * (part.nope_dim + part.rope_dim)
    divided = (part.q_rank or shape.hidden) * width
    divided += part.kv_rank * part.heads * (part.nope_dim + part.value_dim)
    divided += part.heads * part.value_dim * shape.hidden
    whole = shape.hidden * (part.kv_rank + part.rope_dim) + shape.hidden * (part.q_rank or 0)
    if part.index_heads:
        whole += (part.q_rank or shape.hidden) * part.index_heads * part.index_dim
        whole += shape.hidden * (part.index_dim + part.index_heads)
    return part.count * divided, part.count * whole


def element_size(serving: Serving) -> int:
    """Bytes of one unquantized weight: `auto` loads float32 checkpoints as float16, others in their own type."""
    if serving.dtype == "auto":
        return 2
    return _SIZES.get(serving.dtype, 2)


def quantization_of(shape: ModelShape, serving: Serving) -> Quantization | None:
    """The checkpoint's own format, else what the engine is told to make of it while loading."""
    if shape.quantization is not None or serving.quantization is None:
        return shape.quantization
    return named(serving.quantization)


def weights(shape: ModelShape, serving: Serving, gpu: Gpu) -> Bytes:
    """Weights on the fullest rank, after what is offloaded to the CPU.

    Exact where the checkpoint's headers are known (`ModelShape.stored`) and nothing is quantized while loading.
    """
    quantization = quantization_of(shape, serving)
    size = element_size(serving)
    tensor, pipeline = serving.tensor_parallel, serving.pipeline_parallel
    if shape.stored is not None and quantization is shape.quantization and pipeline == 1:
        loaded = _stored(shape, tensor)
    else:
        loaded = _computed(shape, quantization, _Split(size, tensor, pipeline, gpu.compute_capability))
    return Bytes(max(0, loaded + _tables(shape, serving) - serving.cpu_offload))


def _stored(shape: ModelShape, tensor: int) -> int:
    stored = shape.stored
    if stored is None:
        return 0
    kv_ranks = min(tensor, max(1, shape.kv_heads))
    divided = stored.sharded + stored.embedding + stored.head + stored.vision + stored.unknown
    return round(divided / tensor + stored.keys_values / kv_ranks + stored.replicated)


@dataclass(frozen=True)
class _Split:
    """How weights are divided and stored: what `_computed` depends on beside the shape."""

    size: int
    tensor: int
    pipeline: int
    capability: tuple[int, int]


@lru_cache(maxsize=4096)
def _computed(shape: ModelShape, quantization: Quantization | None, split: _Split) -> int:
    size, tensor, pipeline, capability = split.size, split.tensor, split.pipeline, split.capability
    count = parameters(shape)
    quantized = size if quantization is None else quantization.bytes_per_weight
    covered = quantization.parts if quantization else None

    def width(part: bool) -> float:  # bytes of one weight of a part
        return quantized if part else size

    attention = width(bool(covered and covered.attention))
    kv_ranks = min(tensor, max(1, shape.kv_heads))
    layers = attention * (count.queries / tensor + count.keys_values / kv_ranks + count.latent_shared)
    layers += width(bool(covered and covered.mlp)) * count.mlp / tensor
    layers += (
        width(bool(covered and covered.experts))
        * count.experts
        / tensor
        * _padding(shape, quantization, tensor, capability)
    )
    layers += width(bool(covered and covered.shared_experts)) * count.shared_experts / tensor
    layers += width(bool(covered and covered.recurrent)) * count.recurrent / tensor
    layers += size * count.replicated
    stage = layers * ceil(shape.layers / pipeline) / shape.layers if pipeline > 1 else layers
    rows = ceil(shape.vocab / _VOCAB_PADDING) * _VOCAB_PADDING * shape.hidden / tensor
    head = rows * width(bool(covered and covered.head))
    ends = rows * size + (0 if shape.tied else head)
    if pipeline > 1:
        ends = max(rows * size, head)
    vision = width(bool(covered and covered.vision)) * count.vision / tensor
    return round(stage + ends + vision)


def _padding(shape: ModelShape, quantization: Quantization | None, tensor: int, capability: tuple[int, int]) -> float:
    """How much MXFP4 experts grow: hidden and per-rank intermediate sizes are rounded up for the kernels.

    Source: vllm/model_executor/layers/quantization/mxfp4.py, Mxfp4MoEMethod.create_weights.
    """
    if quantization is None or quantization.method != "mxfp4" or shape.experts is None:
        return 1
    step = 64 if capability[0] == 9 else 256 if capability[0] == 10 else 128
    inner = shape.experts.intermediate / tensor
    return (ceil(inner / step) * step / inner) * (ceil(shape.hidden / 256) * 256 / shape.hidden)


def _tables(shape: ModelShape, serving: Serving) -> int:
    """Rotary cosines and sines for every position (rotary_embedding.py), counted with the weights, and rounding."""
    positions = max(shape.max_context, serving.context)
    widest = shape.latent.rope_dim if shape.latent else max((part.head_dim for part in shape.attention), default=0)
    return min(positions, 2**20) * widest * 2 + min(_ROUNDING, parameters(shape).total // 50)
