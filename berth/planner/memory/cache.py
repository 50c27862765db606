"""The KV cache: what a token and a request cost on one rank, and how many of them a pool holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from packaging.version import Version

from berth.catalogue.models import ModelShape
from berth.catalogue.models.shape import Attention
from berth.catalogue.units import Bytes
from berth.planner.memory.serving import Serving

__all__ = ["Pool", "block_size", "bytes_per_request", "bytes_per_token", "kv_bytes_for", "pool_of"]

_HYBRID_MANAGER = Version("0.10.0")
"""From here on sliding layers stop growing at their window (v1/core/kv_cache_coordinator.py)."""

_CHECKPOINT_CACHE = Version("0.12.0")
_DERIVED_TOKENS = Version("0.20.2")

_ALIGN = (Version("0.18.0"), Version("0.24.0"))
_TWO_STEPS = Version("0.20.1")
"""From here on a step may be scheduled while another runs: sliding layers hold the tokens of both."""

_EIGHT_BIT = ("fp8", "int8", "u8")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What a pool of KV memory holds: tokens of one long context, and requests of the declared context."""

    tokens: int
    requests: float


def kv_bytes_for(
    shape: ModelShape, serving: Serving, context: int, concurrency: int, batch_tokens: int = 2048
) -> Bytes:
    """KV memory on one rank for `concurrency` requests of `context` tokens each."""
    return Bytes(concurrency * bytes_per_request(shape, serving, context, batch_tokens))


def element_bytes(shape: ModelShape, serving: Serving) -> float:
    """Bytes of one cached value; `auto` follows a checkpoint that brings scales for an 8-bit cache."""
    kind = serving.kv_cache_dtype
    if kind.startswith(_EIGHT_BIT):
        return 1
    if kind == "auto" and shape.quantization and shape.quantization.fp8_cache and serving.version >= _CHECKPOINT_CACHE:
        return 1
    return 4 if serving.dtype in {"float32", "float"} and kind == "auto" else 2


def block_size(shape: ModelShape, serving: Serving) -> int:
    """Tokens of one block: 16 on CUDA, 64 for latent attention; raised by `_page` where states need larger pages."""
    return serving.block_size or (64 if shape.latent else 16)


def bytes_per_token(shape: ModelShape, serving: Serving) -> float:
    """What one more token of a long request costs on one rank; layers at their window and states cost nothing."""
    size, stage = element_bytes(shape, serving), _stage(shape, serving)
    if shape.latent:
        return stage * size * shape.latent.count * _latent_width(shape)
    windows = _windows_help(shape, serving)
    parts = [part for part in shape.attention if not (windows and part.window)] or list(shape.attention)
    return stage * size * sum(part.cached_layers * _width(part, serving.tensor_parallel) for part in parts)


@lru_cache(maxsize=8192)
def _request(shape: ModelShape, serving: Serving, context: int, batch_tokens: int) -> int:
    size, stage, tensor = element_bytes(shape, serving), _stage(shape, serving), serving.tensor_parallel
    block = block_size(shape, serving)
    if shape.latent and not shape.recurrent:
        return round(stage * ceil(context / block) * block * size * shape.latent.count * _latent_width(shape))
    if not shape.recurrent and not _windows_help(shape, serving):
        per_token = size * sum(part.cached_layers * _width(part, tensor) for part in shape.attention)
        return round(stage * ceil(context / block) * block * per_token)
    if shape.recurrent:
        return round(stage * _with_states(shape, serving, context, size, block))
    return round(stage * _with_windows(shape, serving, context, batch_tokens))


def bytes_per_request(shape: ModelShape, serving: Serving, context: int, batch_tokens: int) -> int:
    """KV memory on one rank that one request of `context` tokens may take, in whole blocks.

    Source: max_memory_usage_bytes of vllm/v1/kv_cache_interface.py for full, sliding, latent and Mamba layers, and the
    grouping of vllm/v1/core/kv_cache_utils.py.
    """
    return _request(shape, serving, context, batch_tokens)


def pool_of(shape: ModelShape, serving: Serving, pool: Bytes, batch_tokens: int) -> Pool:
    """How many tokens and requests of the declared context `pool` bytes on one rank hold.

    For models of one layer kind tokens are whole blocks. For mixed ones vLLM prints requests x context since #41069
    (0.20.2), before that the blocks of one group, as if every group grew with the context.
    """
    request = bytes_per_request(shape, serving, serving.context, batch_tokens)
    requests = max(0.0, pool / request) if request else 0.0
    if shape.recurrent or _windows_help(shape, serving):
        if serving.engine == "vllm" and serving.version < _DERIVED_TOKENS:
            return Pool(tokens=int(max(0, pool) // _bytes_per_slot(shape, serving)), requests=requests)
        return Pool(tokens=int(requests * serving.context), requests=requests)
    block = block_size(shape, serving)
    per_block = bytes_per_token(shape, serving) * block
    tokens = int(max(0, pool) // per_block) * block if per_block else 0
    return Pool(tokens=tokens, requests=tokens / serving.context)


def _width(part: Attention, tensor: int) -> int:
    """Cached values of one token in one layer on one rank; heads are repeated when there are fewer than ranks."""
    heads = max(1, ceil(part.kv_heads / tensor))
    return heads * (part.head_dim + (part.value_dim or part.head_dim))


def _latent_width(shape: ModelShape) -> int:
    """The latent vector is not divided among ranks; the indexer of DeepSeek-V3.2 adds 132 bytes a token."""
    latent = shape.latent
    if latent is None:
        return 0
    return latent.kv_rank + latent.rope_dim + (66 if latent.index_dim else 0)


def _stage(shape: ModelShape, serving: Serving) -> float:
    """The part of the layers that the fullest pipeline stage holds."""
    pipeline = serving.pipeline_parallel
    return ceil(shape.layers / pipeline) / shape.layers if pipeline > 1 else 1


def _windows_help(shape: ModelShape, serving: Serving) -> bool:
    """Whether windows bound what layers hold: all layers windowed alike, or a hybrid cache manager."""
    if not any(part.window for part in shape.attention):
        return False
    if serving.engine != "vllm":
        return serving.engine == "sglang"
    return serving.version >= _HYBRID_MANAGER


def _bytes_per_slot(shape: ModelShape, serving: Serving) -> float:
    """Pool bytes for each token that earlier versions print: one token in each layer group, padding included."""
    size, tensor = element_bytes(shape, serving), serving.tensor_parallel
    kinds = [part.cached_layers for part in shape.attention if part.cached_layers]
    kinds += [part.count for part in shape.recurrent]
    if shape.latent:
        kinds.append(shape.latent.count)
        width = float(_latent_width(shape))
    else:
        width = max((_width(part, tensor) for part in shape.attention), default=1)
    group = _group(kinds)
    return max(1.0, sum(ceil(count / group) for count in kinds) * group * width * size)


def _group(counts: list[int]) -> int:
    """Layers of a group: as many as the rarest kind has, or all of the most frequent where they differ little."""
    return max(counts) if max(counts) < 1.25 * min(counts) else min(counts)


def _with_windows(shape: ModelShape, serving: Serving, context: int, batch_tokens: int) -> float:
    """Full and sliding layers: groups of as many layers as the rarer kind has, padded, each with blocks of its own."""
    tensor, size, block = serving.tensor_parallel, element_bytes(shape, serving), block_size(shape, serving)
    group = _group([part.cached_layers for part in shape.attention if part.cached_layers])
    total = 0.0
    for part in shape.attention:
        tokens = context
        if part.window:
            steps = 2 if serving.engine == "vllm" and serving.version >= _TWO_STEPS else 1
            tokens = min(part.window - 1 + steps * batch_tokens, context)
        blocks = ceil(tokens / block) + (1 if part.window else 0)
        layers = ceil(part.cached_layers / group) * group
        total += blocks * block * layers * _width(part, tensor) * size
    return total


def _with_states(shape: ModelShape, serving: Serving, context: int, size: float, block: int) -> float:
    """Attention and recurrent layers: every layer's page is as large as the larger of state and attention block."""
    tensor = serving.tensor_parallel
    states = [(part.count, _state_bytes(part.conv_dim, part.kernel, part.state, part.state_bytes, serving))
              for part in shape.recurrent]  # fmt: skip
    largest = max(state for _, state in states)
    recurrent = sum(count for count, _ in states)
    if shape.latent:
        attention, width = shape.latent.count, float(_latent_width(shape))
    else:
        attention = sum(part.cached_layers for part in shape.attention)
        width = max((_width(part, tensor) for part in shape.attention), default=0)
    copies = (2 if _prefix_states(serving) else 1) + serving.speculative_tokens
    if not attention:
        return recurrent * largest * copies
    per_token = width * size
    tokens = ceil(max(block, ceil(largest / per_token)) / 16) * 16
    page = tokens * per_token
    group = _group([attention, recurrent])
    return page * group * (ceil(attention / group) * ceil(context / tokens) + ceil(recurrent / group) * copies)


def _prefix_states(serving: Serving) -> bool:
    """Whether a request keeps a second state for prefix caching ("align" mode, on by default from 0.18 to 0.23)."""
    if serving.prefix_caching is None:
        return serving.engine == "vllm" and _ALIGN[0] <= serving.version < _ALIGN[1]
    return serving.prefix_caching


def _state_bytes(conv_dim: int, kernel: int, state: int, state_bytes: int, serving: Serving) -> float:
    """One request's state in one layer on one rank (vllm/model_executor/layers/mamba/mamba_utils.py)."""
    conv = conv_dim / serving.tensor_parallel * (kernel - 1 + serving.speculative_tokens) * 2
    return conv + state / serving.tensor_parallel * state_bytes
