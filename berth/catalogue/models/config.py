"""From a Hugging Face config.json to a `ModelShape`.

The names are those of the `transformers` configuration classes; nested text parts (`text_config` and its kin) are
followed. What cannot be read is listed in `ModelShape.unknown` instead of being guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berth.catalogue.models.attention import attention_of, layer_kinds
from berth.catalogue.models.fields import HIDDEN, MissingNumbers, number
from berth.catalogue.models.quantization import from_config as quantization_of
from berth.catalogue.models.recurrent import recurrent_of
from berth.catalogue.models.shape import Experts, ModelShape, Quantization
from berth.catalogue.models.vision import vision_of

__all__ = ["MissingNumbers", "read_config"]

_TEXT = ("text_config", "llm_config", "language_config", "thinker_config", "language_model")
_PLAIN_MLP = frozenset({
    "gpt2", "gpt_neox", "gptj", "gpt_neo", "opt", "bloom", "falcon", "phi", "starcoder2", "gpt_bigcode", "nemotron",
    "nemotron_h", "mpt", "stablelm_alpha", "codegen", "persimmon", "arcee", "bert", "xlm-roberta",
})  # fmt: skip
_TIED = frozenset({
    "gpt2", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text", "gemma4", "gemma4_text",
    "opt", "bloom", "falcon", "cohere", "cohere2", "gpt_bigcode", "mpt", "t5gemma", "starcoder2",
})  # fmt: skip
_LEARNED_POSITIONS = frozenset({"gpt2", "opt", "gpt_bigcode", "gpt_neo"})
_BIASED = frozenset({
    "gpt2", "gpt_neox", "opt", "bloom", "phi", "starcoder2", "gpt_bigcode", "gptj", "qwen2", "qwen2_moe", "qwen2_vl",
    "qwen2_5_vl",
})  # fmt: skip
_TOWERS = {"gemma3n": 980_000_000}
"""Parameters of vision and audio towers that no configuration states (Gemma 3n's MobileNet and its audio encoder)."""

_UNSIZED = {  # families whose memory this loader does not compute
    "deepseek_v4": "compressed attention of DeepSeek-V4", "t5": "encoder-decoder models",
    "bart": "encoder-decoder models",
    "whisper": "encoder-decoder models", "mllama": "cross attention to images", "rwkv": "RWKV layers",
    "minimax_text_01": "lightning attention", "minimax_m1": "lightning attention", "zamba2": "shared attention blocks",
    "phi4flash": "YOCO layers", "arctic": "dense-MoE hybrid layers", "dbrx": "fused experts of DBRX",
    "deepseek_vl_v2": "the tiled vision tower of DeepSeek-VL2",
}  # fmt: skip


def read_config(config: Mapping[str, Any], *, name: str = "", origin: str = "config.json") -> ModelShape:
    """The shape that a config.json describes.

    Args:
        config: the parsed file.
        name: the repository or folder, for messages.
        origin: where the file comes from.

    Raises:
        MissingNumbers: layers, hidden size, heads or vocabulary are not there.
    """
    text = _text_part(config)
    family = str(text.get("model_type", config.get("model_type", ""))).lower()
    kinds = layer_kinds(text, family)
    quantization, unknown = _quantization(config, text)
    unknown += tuple(filter(None, (_unsized(family, config),)))
    experts = _experts(text, family, kinds)
    attention, latent = attention_of(text, family, kinds)
    architectures = config.get("architectures") or text.get("architectures") or [family or "unknown"]
    recurrent, strange = recurrent_of(text, family, kinds)
    return ModelShape(
        name=name,
        architecture=str(architectures[0]),
        layers=len(kinds),
        hidden=number(text, *HIDDEN),
        vocab=number(text, "vocab_size", "padded_vocab_size"),
        tied=_tied(config, text, family),
        intermediate=intermediate(text, family),
        dense_layers=_dense_layers(text, family, kinds, experts),
        max_context=_context(text, config),
        dtype=_dtype(config, text),
        mlp_matrices=2 if _plain_mlp(text, family) else 3,
        attention=attention,
        latent=latent,
        recurrent=recurrent,
        experts=experts,
        vision=vision_of(config, text),
        quantization=quantization,
        biased=family in _BIASED or bool(text.get("attention_bias") or text.get("qkv_bias")),
        extra=_extra(text, family, kinds) + _TOWERS.get(str(config.get("model_type")), 0),
        unknown=unknown + strange,
        origin=origin,
    )


def intermediate(text: Mapping[str, Any], family: str) -> int:
    """The width of the dense feed-forward part; four times the hidden size where the family implies it."""
    for key in ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff"):
        value = text.get(key)
        if isinstance(value, list):
            return int(max(value))
        if value:
            if key == "intermediate_size" and family == "llama4_text":
                return int(text.get("intermediate_size_mlp", value))
            return int(value)
    if family in {"gpt2", "bloom", "gptj", "gpt_neo", "falcon", "gpt_bigcode", "mpt", "codegen"}:
        return 4 * number(text, *HIDDEN)
    return 0


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's own section, however deep it lies, with the outer values as fallbacks."""
    for key in _TEXT:
        inner = config.get(key)
        if isinstance(inner, Mapping) and (inner.get("hidden_size") or any(deeper in inner for deeper in _TEXT)):
            return _text_part(inner)
    return config


def _tied(config: Mapping[str, Any], text: Mapping[str, Any], family: str) -> bool:
    for part in (config, text):
        if isinstance(part.get("tie_word_embeddings"), bool):
            return bool(part["tie_word_embeddings"])
    return family in _TIED


def _dtype(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    for part in (text, config):
        value = part.get("torch_dtype") or part.get("dtype")
        if isinstance(value, str):
            return value.removeprefix("torch.")
    return "bfloat16"


def _context(text: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    for part in (text, config):
        for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "n_ctx"):
            if isinstance(part.get(key), int):
                return int(part[key] * _rope_factor(text))
    return 2048


def _rope_factor(text: Mapping[str, Any]) -> float:
    """How far `rope_scaling` stretches the context; engines use the stretched one, except for YaRN's already stated."""
    rope = text.get("rope_scaling")
    if not isinstance(rope, Mapping):
        return 1
    kind = rope.get("rope_type", rope.get("type"))
    return float(rope.get("factor", 1)) if kind in {"linear", "dynamic"} else 1


def _plain_mlp(text: Mapping[str, Any], family: str) -> bool:
    return family in _PLAIN_MLP or text.get("mlp_hidden_act") == "relu2"


def _experts(text: Mapping[str, Any], family: str, kinds: tuple[str, ...]) -> Experts | None:
    count = next(
        (
            int(text[key])
            for key in ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts", "n_experts")
            if isinstance(text.get(key), int) and text[key] > 1
        ),
        0,
    )
    if not count or text.get("enable_moe_block") is False:
        return None
    width = (
        text.get("moe_intermediate_size") or text.get("expert_intermediate_size") or text.get("intermediate_size") or 0
    )
    width = max(width) if isinstance(width, list) else int(width)
    shared = int(text.get("shared_expert_intermediate_size") or text.get("moe_shared_expert_intermediate_size") or 0)
    if not shared:
        shared = _shared(text) * width
    if family == "llama4_text":
        shared = int(text["intermediate_size"])
    if text.get("shared_intermediate_size"):
        shared = int(text["shared_intermediate_size"])
    return Experts(
        count=count,
        active=int(text.get("num_experts_per_tok") or text.get("top_k_experts") or text.get("moe_topk") or 1),
        intermediate=width,
        layers=_moe_layers(text, kinds),
        shared=shared,
        biased=family == "gpt_oss",
    )


def _shared(text: Mapping[str, Any]) -> int:
    names = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
    return next((int(text[key]) for key in names if text.get(key)), 0)


def _moe_layers(text: Mapping[str, Any], kinds: tuple[str, ...]) -> int:
    layers = len(kinds)
    if "moe" in kinds:
        return kinds.count("moe")
    if isinstance(text.get("moe_layers"), list) and text["moe_layers"]:
        return len(text["moe_layers"])
    if isinstance(text.get("mlp_layer_types"), list):
        return sum(kind == "sparse" for kind in text["mlp_layer_types"])
    step = int(
        text.get("interleave_moe_layer_step") or text.get("decoder_sparse_step") or text.get("moe_layer_frequency") or 1
    )
    frequency = text.get("moe_layer_freq")
    if isinstance(frequency, list):
        return sum(map(bool, frequency))
    dense = int(text.get("first_k_dense_replace") or 0) or len(text.get("mlp_only_layers") or ())
    return (layers - dense) // max(step, int(frequency or 1))


def _dense_layers(text: Mapping[str, Any], family: str, kinds: tuple[str, ...], experts: Experts | None) -> int:
    """Layers with a dense feed-forward part; Gemma 4 has one beside its experts."""
    if family == "nemotron_h":
        return kinds.count("mlp")
    if family in {"mamba", "mamba2"}:
        return 0
    if experts is None or text.get("enable_moe_block"):
        return len(kinds)
    return len(kinds) - experts.layers


def _extra(text: Mapping[str, Any], family: str, kinds: tuple[str, ...]) -> int:
    """Parameters beside the common parts: learned positions, per-layer embeddings of Gemma 3n and 4."""
    hidden = number(text, *HIDDEN)
    extra = 0
    if family in _LEARNED_POSITIONS:
        extra += (_context(text, text) + 2) * hidden
    per_layer = int(text.get("hidden_size_per_layer_input") or 0)
    if per_layer:
        table = int(text.get("vocab_size_per_layer_input") or 0) * per_layer * len(kinds)
        extra += table + hidden * per_layer * len(kinds) + 2 * hidden * per_layer * len(kinds)
    return extra


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> tuple[Quantization | None, tuple[str, ...]]:
    try:
        return quantization_of(config) or quantization_of(text), ()
    except ValueError as problem:
        return None, (str(problem),)


def _unsized(family: str, config: Mapping[str, Any]) -> str | None:
    outer = str(config.get("model_type", "")).lower()
    reason = _UNSIZED.get(family) or _UNSIZED.get(outer)
    if reason is None and config.get("is_encoder_decoder"):
        reason = "encoder-decoder models"
    return None if reason is None else f"the memory of {reason} is not known to Berth"
