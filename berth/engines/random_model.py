"""A tiny model of random weights, as text files that any engine can read.

It lets a stack run where no model hub is in reach. Its weights are made by the engine itself (vLLM's `--load-format
dummy`), so a model is only a configuration and a tokenizer, and for one that sees how pictures are cut. Its answers
are nonsense, made of syllables.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_BEGIN, _SPECIAL = "<|begin|>", ("<|begin|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
_IMAGE = "<image>"
"""Follows the special tokens in the vocabulary of a vision model."""

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_SEEING_TEMPLATE = _CHAT_TEMPLATE.replace(
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}",
    "{{ '<|' + message['role'] + '|>' }}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "{% endif %}{{ '<|end|>' }}",
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The numbers of a random model; `positions` is the longest context in tokens.

    `image` is the side in pixels of what it sees, in `patch` times `patch` pieces; 0 for a model of text.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    positions: int
    image: int = 0
    patch: int = 14


_TINY = Shape(layers=2, hidden=128, heads=2, kv_heads=2, intermediate=256, vocabulary=1024, positions=8192)

SHAPES: Mapping[str, Shape] = {
    "tiny": _TINY,
    "tiny-vision": replace(_TINY, image=56),
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
    contents: dict[str, dict[str, Any]] = {
        "config.json": _seeing(chosen) if chosen.image else _config(chosen),
        "generation_config.json": {"do_sample": True, "temperature": 1.0},
        "tokenizer.json": _tokenizer(chosen.vocabulary, (*_SPECIAL, _IMAGE) if chosen.image else _SPECIAL),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": _BEGIN,
            "pad_token": _BEGIN,
            "clean_up_tokenization_spaces": False,
            "model_max_length": chosen.positions,
            "chat_template": _CHAT_TEMPLATE,
        },
    }
    if chosen.image:
        contents["tokenizer_config.json"] |= {"image_token": _IMAGE, "chat_template": _SEEING_TEMPLATE}
        contents |= _processors(chosen)
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


def _seeing(shape: Shape) -> dict[str, Any]:
    """A LLaVA: CLIP's vision tower in front of the same decoder."""
    whole = ("architectures", "bos_token_id", "eos_token_id", "torch_dtype", "tie_word_embeddings")
    text = _config(shape)
    return {
        **{name: text[name] for name in whole},
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": text,
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": shape.image,
            "patch_size": shape.patch,
            "projection_dim": 64,
            "vocab_size": shape.vocabulary,
        },
        "image_token_index": 256 + len(_SPECIAL),
        "image_seq_length": (shape.image // shape.patch) ** 2,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }


def _processors(shape: Shape) -> dict[str, dict[str, Any]]:
    """How a picture becomes what the tower sees."""
    half = [0.5, 0.5, 0.5]
    return {
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": shape.image},
            "crop_size": {"height": shape.image, "width": shape.image},
            "image_mean": half,
            "image_std": half,
        },
        "processor_config.json": {
            "processor_class": "LlavaProcessor",
            "patch_size": shape.patch,
            "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1,
            "image_token": _IMAGE,
        },
    }


def _tokenizer(vocabulary: int, special: Sequence[str]) -> dict[str, Any]:
    """A byte-level BPE tokenizer without merges: any text becomes its UTF-8 bytes; the syllables only come out."""
    names = [*_byte_characters(), *special]
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
            for token in special
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
