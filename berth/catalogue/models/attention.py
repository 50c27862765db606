"""Attention layers of a config.json: how many of which kind, with which heads and windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from berth.catalogue.models.fields import HEADS, HIDDEN, LAYERS, number
from berth.catalogue.models.shape import Attention, Latent

__all__ = ["attention_of", "layer_kinds"]

_RECURRENT = frozenset({"linear_attention", "mamba", "conv", "recurrent", "kda"})
_ALWAYS_WINDOWED = frozenset({"mistral", "mixtral", "phi3", "starcoder2", "ministral"})


def layer_kinds(text: Mapping[str, Any], family: str) -> tuple[str, ...]:
    """One word per decoder layer: `full`, `sliding`, `chunked`, `recurrent`, `both`, `moe`, `mlp` or `none`."""
    count = number(text, *LAYERS)
    if isinstance(text.get("hybrid_override_pattern"), str):
        names = {"M": "recurrent", "*": "full", "E": "moe", "-": "mlp"}
        return tuple(names[letter] for letter in text["hybrid_override_pattern"] if letter in names)
    types = text.get("layer_types") or text.get("layers_block_type")
    if isinstance(types, list):
        return tuple(map(_kind, types))
    if family == "falcon_h1":
        return ("both",) * count
    if family in {"mamba", "mamba2", "falcon_mamba"}:
        return ("recurrent",) * count
    return _regular(text, family, count)


def _regular(text: Mapping[str, Any], family: str, count: int) -> tuple[str, ...]:
    """Patterns that are stated as a period instead of a list."""
    full = _full_layers(text, count)
    if full is not None:
        return tuple("full" if layer in full else "recurrent" for layer in range(count))
    window = text.get("sliding_window")
    if not window or text.get("use_sliding_window") is False:
        return ("full",) * count
    period = _window_period(text, family)
    if period:
        return tuple("sliding" if (layer + 1) % period else "full" for layer in range(count))
    return ("sliding" if family in _ALWAYS_WINDOWED else "full",) * count


def _full_layers(text: Mapping[str, Any], count: int) -> frozenset[int] | None:
    """The attention layers among recurrent ones, None for models that have only attention."""
    linear = text.get("linear_attn_config")
    if isinstance(linear, Mapping):  # Kimi Linear counts layers from one
        return frozenset(int(layer) - 1 for layer in linear.get("full_attn_layers", ()))
    if "attn_layer_period" in text and "mamba_d_state" in text:  # Jamba
        return frozenset(range(int(text.get("attn_layer_offset", 0)), count, int(text["attn_layer_period"])))
    if "attn_layer_indices" in text:  # Bamba
        return frozenset(map(int, text["attn_layer_indices"] or ()))
    interval = int(text.get("full_attention_interval") or 0)
    return frozenset(range(interval - 1, count, interval)) if interval else None


def _window_period(text: Mapping[str, Any], family: str) -> int:
    for key in ("sliding_window_pattern", "_sliding_window_pattern"):
        if isinstance(text.get(key), int):
            return int(text[key])
    return {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gemma4_text": 6, "cohere2": 4, "gpt_oss": 2}.get(family, 0)


def _kind(name: str) -> str:
    if name in _RECURRENT or "mamba" in name:
        return "recurrent"
    if "sliding" in name:
        return "sliding"
    if "chunked" in name:
        return "chunked"
    return "full"


def attention_of(
    text: Mapping[str, Any], family: str, kinds: tuple[str, ...]
) -> tuple[tuple[Attention, ...], Latent | None]:
    """The attention layers by equal kind, or the latent attention that replaces them."""
    counts = Counter(kinds)
    full = counts["full"] + counts["both"]
    if text.get("kv_lora_rank"):
        return (), _latent(text, full or len(kinds))
    windowed = counts["sliding"] + counts["chunked"]
    heads, kv_heads, head_dim = _heads(text)
    shared = int(text.get("num_kv_shared_layers") or 0)
    gated = bool(text.get("attn_output_gate") or family in {"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"})
    parts = []
    if windowed:
        window = int(text.get("sliding_window") or text.get("attention_chunk_size") or 0) or None
        caches = windowed - round(shared * windowed / len(kinds)) if shared else None
        parts.append(
            Attention(count=windowed, heads=heads, kv_heads=kv_heads, head_dim=head_dim, window=window, caches=caches,
                      gated=gated)
        )  # fmt: skip
    if full:
        caches = full - round(shared * full / len(kinds)) if shared else None
        wide = int(text.get("global_head_dim") or head_dim) if windowed else head_dim
        few = int(text.get("num_global_key_value_heads") or kv_heads) if windowed else kv_heads
        parts.append(
            Attention(count=full, heads=heads, kv_heads=few, head_dim=wide, caches=caches, gated=gated,
                      key_is_value=bool(text.get("attention_k_eq_v")) and windowed > 0)
        )  # fmt: skip
    return tuple(parts), None


def _heads(text: Mapping[str, Any]) -> tuple[int, int, int]:
    heads, hidden = number(text, *HEADS), number(text, *HIDDEN)
    kv_heads = text.get("num_key_value_heads") or text.get("num_kv_heads") or text.get("multi_query_group_num")
    if kv_heads is None:
        kv_heads = 1 if text.get("multi_query") and not text.get("new_decoder_architecture") else heads
    kv_heads = max(kv_heads) if isinstance(kv_heads, list) else int(kv_heads)
    head_dim = text.get("head_dim") or text.get("attention_head_dim") or text.get("kv_channels")
    return heads, kv_heads, int(head_dim or hidden // heads)


def _latent(text: Mapping[str, Any], count: int) -> Latent:
    return Latent(
        count=count,
        heads=int(text["num_attention_heads"]),
        kv_rank=int(text["kv_lora_rank"]),
        q_rank=int(text["q_lora_rank"]) if text.get("q_lora_rank") else None,
        nope_dim=int(text.get("qk_nope_head_dim", 128)),
        rope_dim=int(text.get("qk_rope_head_dim", 64)),
        value_dim=int(text.get("v_head_dim", 128)),
        index_heads=int(text.get("index_n_heads") or 0),
        index_dim=int(text.get("index_head_dim") or 0),
    )
