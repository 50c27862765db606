"""The numbers of a model's architecture that decide its memory; read from a config.json or the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Attention", "Experts", "Latent", "ModelShape", "Quantization", "QuantizedParts", "Recurrent", "StoredWeights",
    "Vision",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Attention:
    """`count` equal attention layers; a `window` in tokens bounds what they cache, `caches` is how many keep a cache.

    `key_is_value` are layers that project keys only and use them as values (Gemma 4's global layers).
    """

    count: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int | None = None
    window: int | None = None
    caches: int | None = None
    key_is_value: bool = False
    gated: bool = False

    @property
    def cached_layers(self) -> int:
        """The layers that hold keys and values of their own (Gemma 3n and 4 share some)."""
        return self.count if self.caches is None else self.caches


@dataclass(frozen=True, kw_only=True)
class Latent:
    """Multi-head latent attention (DeepSeek): all heads share one cached vector of kv_rank + rope_dim per token."""

    count: int
    heads: int
    kv_rank: int
    q_rank: int | None
    nope_dim: int
    rope_dim: int
    value_dim: int
    index_heads: int = 0
    index_dim: int = 0


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """`count` layers whose state does not grow with the context (Mamba 1 and 2, gated delta nets, short convolutions).

    `conv_dim` channels keep `kernel` - 1 past values; `state` is the number of values of the temporal state,
    `parameters` the weights of one layer's mixer.
    """

    count: int
    kind: Literal["mamba", "mamba2", "gdn", "kda", "conv"]
    conv_dim: int
    kernel: int
    state: int
    state_bytes: int
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Mixture of experts in `layers` layers; `shared` is the summed intermediate size of experts every token uses."""

    count: int
    active: int
    intermediate: int
    layers: int
    shared: int = 0
    biased: bool = False


@dataclass(frozen=True, kw_only=True)
class Vision:
    """A vision tower. `parameters` includes its projector; a `patch` is an input token, `merge` of them one embedding.

    `patches` is the largest number of patches one image may have, `frames` how many such images a video may hold.
    `matrices` is 3 for gated feed-forward parts, 2 for plain ones.
    """

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    patches: int
    merge: int
    matrices: int = 2
    frames: int = 1


@dataclass(frozen=True, kw_only=True)
class QuantizedParts:
    """Which parts of a model a quantization covers; the others keep the 16-bit type."""

    attention: bool = True
    mlp: bool = True
    experts: bool = True
    recurrent: bool = True
    shared_experts: bool = True
    vision: bool = False
    head: bool = False


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the weights are stored. `bits` counts one weight, `group` weights share a scale of `scale_bits` bits.

    `zero_bits` are the bits of the zero point of a group. A group of 0 means one scale per output channel. With
    `fp8_cache` the checkpoint asks for an 8-bit KV cache.
    """

    method: str
    bits: float
    group: int = 0
    scale_bits: int = 16
    zero_bits: float = 0
    activations: Literal["16-bit", "fp8", "int8", "fp4"] = "16-bit"
    fp8_cache: bool = False
    parts: QuantizedParts = field(default_factory=QuantizedParts)

    @property
    def bytes_per_weight(self) -> float:
        """The mean size of one quantized weight with its share of scales and zero points."""
        shared = (self.scale_bits + self.zero_bits) / self.group if self.group else 0
        return (self.bits + shared) / 8


@dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """Exact sizes in bytes from the checkpoint's safetensors headers, as the engine loads them, by how they are split.

    `sharded` is divided among tensor-parallel ranks, `replicated` lies on each, `embedding` and `head` are divided by
    vocabulary, `keys_values` by key-value heads, `vision` is the tower. `unknown` counts bytes of tensors that no rule
    knows: they are taken as sharded.
    """

    sharded: int = 0
    replicated: int = 0
    embedding: int = 0
    head: int = 0
    keys_values: int = 0
    vision: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return (
            self.sharded + self.replicated + self.embedding + self.head + self.keys_values + self.vision + self.unknown
        )


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """One model's architecture.

    Attributes:
        name: the repository or folder the shape was found for.
        architecture: the class that config.json names first.
        layers: decoder layers of every kind.
        intermediate: width of the dense feed-forward part; `dense_layers` have it.
        mlp_matrices: 3 for gated feed-forward parts (SwiGLU), 2 for plain ones.
        dtype: the checkpoint's native type, such as bfloat16.
        max_context: the longest context the configuration allows.
        extra: parameters that no other field explains (position tables, per-layer embeddings), kept on each rank.
        unknown: what the loader could not read; a verdict on such a shape is `unknown`.
        origin: where the numbers come from.
    """

    name: str
    architecture: str
    layers: int
    hidden: int
    vocab: int
    tied: bool
    intermediate: int
    dense_layers: int
    max_context: int
    dtype: str = "bfloat16"
    mlp_matrices: int = 3
    attention: tuple[Attention, ...] = ()
    latent: Latent | None = None
    recurrent: tuple[Recurrent, ...] = ()
    experts: Experts | None = None
    vision: Vision | None = None
    quantization: Quantization | None = None
    stored: StoredWeights | None = None
    biased: bool = False
    extra: int = 0
    unknown: tuple[str, ...] = ()
    origin: str = ""

    @property
    def heads(self) -> int:
        """Query heads of the attention layers (the widest group)."""
        return self.latent.heads if self.latent else max((part.heads for part in self.attention), default=1)

    @property
    def kv_heads(self) -> int:
        """Key-value heads that tensor parallelism divides (the narrowest group)."""
        return 1 if self.latent else min((part.kv_heads for part in self.attention), default=1)

    @property
    def multimodal(self) -> bool:
        """Whether prompts may hold images."""
        return self.vision is not None
