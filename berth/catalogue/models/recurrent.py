"""Layers with a state of constant size: Mamba 1 and 2, gated delta nets, Kimi delta attention, short convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berth.catalogue.models.shape import Recurrent

__all__ = ["recurrent_of"]


def recurrent_of(
    text: Mapping[str, Any], family: str, kinds: tuple[str, ...]
) -> tuple[tuple[Recurrent, ...], tuple[str, ...]]:
    """The recurrent layers, and what about them could not be read.

    State shapes follow `vllm/model_executor/layers/mamba/mamba_utils.py` (MambaStateShapeCalculator).
    """
    count = sum(kind in {"recurrent", "both"} for kind in kinds)
    if not count:
        return (), ()
    found = _layers(text, int(text.get("hidden_size", 0)), count)
    if found is None:
        return (), (f"the recurrent layers of {family or 'this model'} are not known to Berth",)
    return (found,), ()


def _layers(text: Mapping[str, Any], hidden: int, count: int) -> Recurrent | None:
    heads = text.get("mamba_num_heads") or text.get("mamba_n_heads")
    state = text.get("mamba_d_state") or text.get("state_size")
    if "linear_num_value_heads" in text:
        return _delta_net(text, hidden, count)
    if "linear_attn_config" in text:
        return _kimi_delta(text["linear_attn_config"], hidden, count)
    if "conv_L_cache" in text:
        return _short_convolution(hidden, count, int(text["conv_L_cache"]))
    if heads:
        return _mamba2(text, hidden, count, int(heads))
    return _mamba1(text, hidden, count, int(state)) if state else None


def _short_convolution(hidden: int, count: int, kernel: int) -> Recurrent:
    weights = 4 * hidden * hidden + hidden * kernel
    return Recurrent(
        count=count, kind="conv", conv_dim=hidden, kernel=kernel, state=0, state_bytes=2, parameters=weights
    )


def _delta_net(text: Mapping[str, Any], hidden: int, count: int) -> Recurrent:
    """Gated delta net of Qwen3-Next and Qwen3.5: queries and keys by key heads, values, gates by value heads."""
    keys = int(text["linear_num_key_heads"]) * int(text["linear_key_head_dim"])
    heads = int(text["linear_num_value_heads"])
    values = heads * int(text["linear_value_head_dim"])
    conv, kernel = 2 * keys + values, int(text.get("linear_conv_kernel_dim", 4))
    weights = hidden * (2 * keys + 2 * values + 2 * heads) + conv * kernel + values * hidden
    return Recurrent(
        count=count,
        kind="gdn",
        conv_dim=conv,
        kernel=kernel,
        state=values * int(text["linear_key_head_dim"]),
        state_bytes=4 if text.get("mamba_ssm_dtype") == "float32" else 2,
        parameters=weights,
    )


def _kimi_delta(linear: Mapping[str, Any], hidden: int, count: int) -> Recurrent:
    heads, dim = int(linear["num_heads"]), int(linear["head_dim"])
    width, kernel = heads * dim, int(linear.get("short_conv_kernel_size", 4))
    weights = 4 * hidden * width + 2 * (hidden * dim + dim * width) + hidden * heads + 3 * width * kernel
    return Recurrent(
        count=count, kind="kda", conv_dim=3 * width, kernel=kernel, state=width * dim, state_bytes=4, parameters=weights
    )


def _mamba2(text: Mapping[str, Any], hidden: int, count: int, heads: int) -> Recurrent:
    dim = int(text.get("mamba_head_dim") or text.get("mamba_d_head") or 64)
    groups = int(text.get("n_groups") or text.get("mamba_n_groups") or 1)
    state = int(text.get("ssm_state_size") or text.get("mamba_d_state") or 128)
    kernel = int(text.get("conv_kernel") or text.get("mamba_d_conv") or 4)
    inner = heads * dim
    conv = inner + 2 * groups * state
    weights = hidden * (inner + conv + heads) + conv * kernel + inner * hidden + inner
    return Recurrent(
        count=count,
        kind="mamba2",
        conv_dim=conv,
        kernel=kernel,
        state=inner * state,
        state_bytes=4 if text.get("mamba_ssm_cache_dtype") == "float32" else 2,
        parameters=weights,
    )


def _mamba1(text: Mapping[str, Any], hidden: int, count: int, state: int) -> Recurrent:
    inner = int(text.get("intermediate_size") or 0) if "state_size" in text else 0
    inner = inner or int(text.get("mamba_expand") or text.get("expand") or 2) * hidden
    rank = text.get("mamba_dt_rank") or text.get("time_step_rank")
    rank = int(rank) if isinstance(rank, int) else -(-hidden // 16)
    kernel = int(text.get("mamba_d_conv") or text.get("conv_kernel") or 4)
    weights = (
        hidden * 2 * inner + inner * kernel + inner * (rank + 2 * state) + rank * inner + inner * state + inner * hidden
    )
    return Recurrent(
        count=count, kind="mamba", conv_dim=inner, kernel=kernel, state=inner * state, state_bytes=2, parameters=weights
    )
