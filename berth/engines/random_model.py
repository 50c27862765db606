"""A tiny model of random weights, as text files that any engine can read.

It lets a stack run where no model hub is in reach. Its weights are made by the engine itself (vLLM's `--load-format
dummy`), so a model is only a configuration and a tokenizer. Its answers are nonsense, made of syllables.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BEGIN, _SPECIAL = "<|begin|>", ("<|begin|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The numbers of a random model; `positions` is the longest context in tokens."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    positions: int


SHAPES: Mapping[str, Shape] = {
    "tiny": Shape(layers=2, hidden=128, heads=2, kv_heads=2, intermediate=256, vocabulary=1024, positions=8192),
}
"""The random models that a stack file may name. A head size of 64 is the least that every attention kernel has."""


def files(shape: str) -> dict[str, str]:
    """The model folder's files, name to content.

    Raises:
        ValueError: no random model has that name.
    """
    if shape not in SHAPES:
        raise ValueError(f"random model {shape!r}: no such shape; there are {', '.join(SHAPES)}")
    chosen = SHAPES[shape]
    contents = {
        "config.json": _config(chosen),
        "generation_config.json": {"do_sample": True, "temperature": 1.0},
        "tokenizer.json": _tokenizer(chosen.vocabulary),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": _BEGIN,
            "pad_token": _BEGIN,
            "clean_up_tokenization_spaces": False,
            "model_max_length": chosen.positions,
            "chat_template": _CHAT_TEMPLATE,
        },
    }
    return {name: json.dumps(content, ensure_ascii=False, indent=1) + "\n" for name, content in contents.items()}


def _config(shape: Shape) -> dict[str, Any]:
    # No end-of-sequence token: an answer is as long as it was asked to be, so that tests and proofs can count on it.
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": shape.positions,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "initializer_range": 0.02,
        "bos_token_id": 256,
        "eos_token_id": None,
        "torch_dtype": "float32",
    }


def _tokenizer(vocabulary: int) -> dict[str, Any]:
    """A byte-level BPE tokenizer without merges: any text becomes its UTF-8 bytes; the syllables only come out."""
    names = [*_byte_characters(), *_SPECIAL]
    names += itertools.islice(_syllables(), vocabulary - len(names))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": names.index(token),
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in _SPECIAL
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: number for number, name in enumerate(names)},
            "merges": [],
        },
    }


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE (GPT-2's `bytes_to_unicode`)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    replacements = itertools.count(0x100)
    return [chr(byte) if byte in printable else chr(next(replacements)) for byte in range(256)]


def _syllables() -> itertools.chain[str]:
    """Syllables, half of them with the mark of a leading space, in a fixed order."""
    plain = ["".join(parts) for parts in itertools.product("bdfgklmnprstvz", "aeiou", ("", "n", "r", "s", "l", "m"))]
    return itertools.chain.from_iterable((f"\u0120{syllable}", syllable) for syllable in plain)
