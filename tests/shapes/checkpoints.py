"""Small real checkpoints: a Llama of two layers in safetensors files, whole, sharded or tied."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import Any

CONFIG: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}

ROTARY = 512 * 16 * 2
"""Bytes of the rotary table: positions x head size x 2."""


def tensors() -> dict[str, tuple[int, ...]]:
    """Its tensors, all in bfloat16."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (1000, 64), "model.norm.weight": (64,), "lm_head.weight": (1000, 64)
    }  # fmt: skip
    for number in range(2):
        layer = f"model.layers.{number}"
        found |= {
            f"{layer}.self_attn.q_proj.weight": (64, 64), f"{layer}.self_attn.k_proj.weight": (32, 64),
            f"{layer}.self_attn.v_proj.weight": (32, 64), f"{layer}.self_attn.o_proj.weight": (64, 64),
            f"{layer}.mlp.gate_proj.weight": (128, 64), f"{layer}.mlp.up_proj.weight": (128, 64),
            f"{layer}.mlp.down_proj.weight": (64, 128), f"{layer}.input_layernorm.weight": (64,),
            f"{layer}.post_attention_layernorm.weight": (64,),
            f"{layer}.extra_of_nobody.weight": (16, 16),
        }  # fmt: skip
    return found


def size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Bytes of tensors in bfloat16."""
    return sum(prod(shape) * 2 for shape in shapes.values())


def file(shapes: Mapping[str, tuple[int, ...]], *, padding: int = 0) -> bytes:
    """A safetensors file; `padding` makes its header longer by so many bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        end = at + prod(shape) * 2
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + bytes(at)


def whole(**changes: Any) -> dict[str, bytes]:
    """The model in one file, with `changes` to its configuration."""
    return {"config.json": json.dumps({**CONFIG, **changes}).encode(), "model.safetensors": file(tensors())}


def sharded(**changes: Any) -> dict[str, bytes]:
    """The model in three files with an index, a second copy and an older format beside them."""
    names = list(tensors())
    parts = [names[:8], names[8:16], names[16:]]
    files = {f"model-0000{number}-of-00003.safetensors": part for number, part in enumerate(parts, 1)}
    index = {
        "metadata": {"total_size": size(tensors())},
        "weight_map": {name: path for path, part in files.items() for name in part},
    }
    return {
        "config.json": json.dumps({**CONFIG, **changes}).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "consolidated.safetensors": file(tensors()),
        "pytorch_model.bin": b"p" * 10_000,
        **{path: file({name: tensors()[name] for name in part}) for path, part in files.items()},
    }
