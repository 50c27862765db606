"""Vision towers of a config.json: their parameters and how large one image can get."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from berth.catalogue.models.shape import Vision

__all__ = ["vision_of"]

_GATED = frozenset({"qwen2_5_vl", "pixtral", "dots_vit", "glm4v", "glm4v_moe", "qwen2_5_omni", "ovis", "llama4v"})
_DYNAMIC = {  # patches of the largest image the model's own preprocessor lets through
    "qwen2_vl": 65536, "qwen2_5_vl": 65536, "qwen3_vl": 65536, "qwen3_vl_moe": 65536, "qwen3_5": 65536,
    "qwen3_5_moe": 65536, "dots_vit": 57600, "pixtral": 12100, "glm4v": 24576, "glm4v_moe": 24576, "kimi_vl": 4096,
    "moonvit": 4096,
}  # fmt: skip


_VIDEO = 7
"""Fourteen frames in pairs, each of the largest image (vLLM's models/qwen2_vl.py, _MAX_FRAMES_PER_VIDEO)."""


def vision_of(config: Mapping[str, Any], text: Mapping[str, Any]) -> Vision | None:
    """The vision tower, None for models that read text only."""
    vision = config.get("vision_config") or config.get("vision_tower_config")
    if not isinstance(vision, Mapping):
        thinker = config.get("thinker_config")
        return vision_of(thinker, text) if isinstance(thinker, Mapping) else None
    vision = _flat(vision)
    family = str(vision.get("model_type") or config.get("model_type", "")).lower()
    outer = str(config.get("model_type", "")).lower()
    hidden = int(_first(vision, "embed_dim", "vt_hidden_size", "hidden_size", "width"))
    if family == "qwen2_5_vl" or outer == "qwen2_5_vl":
        hidden, family = int(vision["hidden_size"]), "qwen2_5_vl"
    if not hidden:
        return None
    layers = int(_first(vision, "depth", "num_hidden_layers", "vt_num_hidden_layers", "layers"))
    wide = int(
        _first(vision, "intermediate_size", "vt_intermediate_size") or hidden * float(vision.get("mlp_ratio", 4))
    )
    target = int(text.get("hidden_size", hidden))
    merge = _merge(vision, config)
    matrices = 3 if family in _GATED or outer in _GATED else 2
    patch = int(vision.get("patch_size", 14))
    block = 4 * hidden * hidden + matrices * hidden * wide + 6 * hidden + wide
    stem = 3 * patch * patch * int(vision.get("temporal_patch_size", 1)) * hidden
    stem += int(vision.get("num_position_embeddings", 0)) * hidden
    patches = (
        int(vision.get("image_patches", 0)) or _DYNAMIC.get(family) or _DYNAMIC.get(outer) or _fixed(vision, patch)
    )
    return Vision(
        parameters=layers * block
        + stem
        + _projector(vision, (family, outer), hidden=hidden, target=target, merge=merge),
        layers=layers,
        hidden=hidden,
        intermediate=wide,
        heads=int(_first(vision, "num_heads", "num_attention_heads", "vt_num_attention_heads") or 16),
        patches=patches,
        merge=merge,
        matrices=matrices,
        frames=_VIDEO if family in {"qwen2_vl", "qwen2_5_vl"} else 1,
    )


def _first(vision: Mapping[str, Any], *keys: str) -> float:
    """The first of several names that has a number, else 0."""
    return next((vision[key] for key in keys if isinstance(vision.get(key), int | float)), 0)


def _flat(vision: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = vision.get("vision_config")
    return inner if isinstance(inner, Mapping) else vision


def _merge(vision: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """How many patches become one token of the language model."""
    side = vision.get("spatial_merge_size") or config.get("spatial_merge_size") or vision.get("pooling_kernel_size")
    if isinstance(side, int):
        return side**2
    kernel = vision.get("merge_kernel_size")
    if isinstance(kernel, list):
        return prod(map(int, kernel))
    if "mm_tokens_per_image" in config:
        patches = _fixed(vision, int(vision.get("patch_size", 14)))
        return max(1, patches // int(config["mm_tokens_per_image"]))
    ratio = config.get("downsample_ratio") or vision.get("pixel_shuffle_ratio")
    return round(1 / float(ratio) ** 2) if ratio else 1


def _fixed(vision: Mapping[str, Any], patch: int) -> int:
    side = vision.get("image_size", 448)
    side = max(side) if isinstance(side, list) else int(side)
    return max(1, (side // patch) ** 2)


def _projector(vision: Mapping[str, Any], families: tuple[str, str], *, hidden: int, target: int, merge: int) -> int:
    """The layers between tower and language model."""
    family, outer = families
    merged = hidden * merge
    if family.startswith("qwen3") or outer.startswith("qwen3"):
        mergers = 1 + len(vision.get("deepstack_visual_indexes", ()))
        return mergers * (merged * merged + merged * target)
    if family in {"qwen2_vl", "qwen2_5_vl", "dots_vit"} or outer in {"qwen2_vl", "qwen2_5_vl"}:
        return merged * merged + merged * target
    if outer == "mistral3":
        return merged * hidden + hidden * target + target * target
    if outer.startswith("gemma"):
        return hidden * target
    return merged * target + target * target
