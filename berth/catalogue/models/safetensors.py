"""Exact weight sizes from safetensors headers: what each tensor weighs once loaded, and how ranks split it.

The format: eight bytes of little-endian length, then that much JSON, then the data
(https://github.com/huggingface/safetensors#format). Only headers are needed, never the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from berth.catalogue.models.shape import StoredWeights

__all__ = ["header_of", "stored_weights"]

_LENGTH = 8
_LARGEST_HEADER = 100_000_000
"""The limit of the format itself."""

_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F4": 0.5, "U16": 2, "U32": 4, "U64": 8,
}  # fmt: skip
_CAST = frozenset({"F64", "F32", "F16", "BF16"})
_KEPT_WIDE = re.compile(r"scale|A_log|correction_bias|absmax|zero_point")
_PARTS = (  # the first pattern that a tensor's name matches names the part
    ("skip", re.compile(r"(^|\.)mtp\.|rotary_emb\.inv_freq|masked_bias|\.attn\.bias$")),
    ("vision", re.compile(r"(^|\.)(visual|vision\w*|vit|image_\w+|multi_modal_projector|mm_projector|merger|mlp1)\.")),
    ("embedding", re.compile(r"(embed_tokens|wte|word_embeddings|tok_embeddings|embeddings)\.weight$")),
    ("head", re.compile(r"(^|\.)(lm_head|embed_out|output)\.")),
    ("keys_values", re.compile(r"(attn|attention)\w*\.(k_proj|v_proj|wk|wv)\.")),
    ("replicated", re.compile(r"norm|ln_|(mlp|ffn|moe)\.(gate|router)\.|router|(q_a|kv_a)_proj|expert_gate|wpe\.")),
    ("sharded", re.compile(r"proj|experts|fc\d?|linear|dense|conv|mlp|att|mixer|mamba|w[123]\b|A_log|dt_|\.D$")),
)  # fmt: skip


def header_of(start: bytes) -> dict[str, Any]:
    """The header of a safetensors file from its first bytes.

    Raises:
        ValueError: the bytes are no safetensors header, or hold only a part of it; the message says how many it needs.
    """
    if len(start) < _LENGTH:
        raise ValueError(f"a safetensors file starts with {_LENGTH} bytes of length; got {len(start)} bytes")
    length = int.from_bytes(start[:_LENGTH], "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"not a safetensors file: its header would have {length} bytes")
    if len(start) < _LENGTH + length:
        raise ValueError(f"the safetensors header needs {_LENGTH + length} bytes, got {len(start)}")
    header = json.loads(start[_LENGTH : _LENGTH + length])
    if not isinstance(header, dict):
        raise ValueError(  # noqa: TRY004  # the bytes are wrong, not the caller's type
            "not a safetensors file: its header is no JSON object"
        )
    return header


def stored_weights(
    headers: Iterable[Mapping[str, Any]], *, layers: int | None = None, tied: bool = False, dtype_bytes: int = 2
) -> StoredWeights:
    """What the tensors of a checkpoint weigh in memory.

    Args:
        headers: parsed headers of all its files.
        layers: decoder layers that are loaded; tensors of later ones (draft layers) are left out.
        tied: whether the output layer shares the embedding, so that a stored copy is not loaded.
        dtype_bytes: the size of the type that floating tensors are cast to.
    """
    sizes = dict.fromkeys(("sharded", "replicated", "embedding", "head", "keys_values", "vision", "unknown"), 0)
    for header in headers:
        for name, entry in header.items():
            part = _part(name, layers)
            if name == "__metadata__" or part == "skip" or (tied and part == "head"):
                continue
            sizes[part] += _loaded(name, entry, dtype_bytes)
    return StoredWeights(**sizes)


def _part(name: str, layers: int | None) -> str:
    number = re.search(r"\.layers\.(\d+)\.", name)
    if layers is not None and number and int(number[1]) >= layers and "vis" not in name:
        return "skip"
    return next((part for part, pattern in _PARTS if pattern.search(name)), "unknown")


def _loaded(name: str, entry: Mapping[str, Any], dtype_bytes: int) -> int:
    kind = str(entry.get("dtype", "BF16"))
    size: float = _SIZES.get(kind, 2)
    if kind in _CAST and not (kind == "F32" and _KEPT_WIDE.search(name)):
        size = dtype_bytes
    return round(int(prod(entry.get("shape", ()))) * size)
