"""Weight formats: from a checkpoint's `quantization_config` or an engine's flag to bits, groups and covered parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from berth.catalogue.models.shape import Quantization, QuantizedParts

__all__ = ["from_config", "from_name", "named"]

_FORMATS: dict[str, Quantization] = {
    # https://arxiv.org/abs/2306.00978 and AutoAWQ: 4-bit weights, 16-bit scale and 4-bit zero for 128 of them.
    "awq": Quantization(method="awq", bits=4, group=128, zero_bits=4),
    # https://arxiv.org/abs/2210.17323 and GPTQModel: as awq; zero points are stored even where they are unused.
    "gptq": Quantization(method="gptq", bits=4, group=128, zero_bits=4),
    "gptq-int8": Quantization(method="gptq", bits=8, group=128, zero_bits=8),
    "int4": Quantization(method="compressed-tensors", bits=4, group=128),
    "int8": Quantization(method="compressed-tensors", bits=8, activations="int8"),
    "int8-g32": Quantization(method="compressed-tensors", bits=8, group=32),
    "fp8": Quantization(method="fp8", bits=8, activations="fp8"),
    "fp8-block": Quantization(method="fp8", bits=8, group=128 * 128, scale_bits=32, activations="fp8"),
    # https://www.opencompute.org (MX formats): 4-bit values, one 8-bit exponent for 32 of them; gpt-oss: experts only.
    "mxfp4": Quantization(
        method="mxfp4",
        bits=4,
        group=32,
        scale_bits=8,
        parts=QuantizedParts(attention=False, mlp=False, recurrent=False, shared_experts=False),
    ),
    # NVFP4: 4-bit values, one 8-bit scale for 16 of them.
    "nvfp4": Quantization(method="nvfp4", bits=4, group=16, scale_bits=8, activations="fp4", fp8_cache=True),
    # bitsandbytes NF4 with compressed statistics: 8 bits for 64 values, 32 bits for 256 of those.
    "bitsandbytes": Quantization(method="bitsandbytes", bits=4, group=64 * 256, scale_bits=256 * 8 + 32),
    "bitsandbytes-8bit": Quantization(method="bitsandbytes", bits=8),
    # llama.cpp's Q4_K: 4.5 bits in blocks of 256; most files mix it with Q6_K.
    "gguf": Quantization(method="gguf", bits=4.85, parts=QuantizedParts(head=True)),
}

_FLAGS = {
    "awq": "awq", "awq_marlin": "awq", "gptq": "gptq", "gptq_marlin": "gptq", "gptq_marlin_24": "gptq",
    "marlin": "gptq", "auto-round": "gptq", "auto_round": "gptq", "autoround": "gptq", "inc": "gptq",
    "moe_wna16": "int4",
    "fp8": "fp8", "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8", "deepspeedfp": "fp8", "modelopt": "fp8",
    "modelopt_fp4": "nvfp4", "nvfp4": "nvfp4", "mxfp4": "mxfp4", "experts_int8": "int8", "int8": "int8", "w8a8": "int8",
    "bitsandbytes": "bitsandbytes", "bitsandbytes-nf4": "bitsandbytes", "bitsandbytes-fp4": "bitsandbytes",
    "eetq": "bitsandbytes-8bit", "gguf": "gguf", "int4": "int4", "deepseek_v4_fp8": "fp8-block",
}  # fmt: skip

_GROUPED = frozenset({"awq", "gptq", "auto-round", "auto_round", "inc", "gptq_marlin", "awq_marlin"})

_NAMES = (  # what publishers write into repository names; the first match counts
    (r"mxfp4", "mxfp4"),
    (r"nvfp4|(?<!mx)fp4|w4a4", "nvfp4"),
    (r"gptq[-_]?int8|int8[-_]?gptq|gptq[-_]?8bit", "gptq-int8"),
    (r"gptq|auto[-_]?round", "gptq"),
    (r"awq[-_]?8bit|awq[-_]?int8|8bit[-_]?awq", "int8-g32"),
    (r"awq", "awq"),
    (r"w4a16|w4a8|int4|quantized\.w4", "int4"),
    (r"w8a8|w8a16|int8", "int8"),
    (r"fp8", "fp8"),
    (r"bnb|4bit", "bitsandbytes"),
    (r"gguf|q4_k", "gguf"),
)


def named(flag: str) -> Quantization | None:
    """The format behind an engine's `--quantization` value; None where its size is not known."""
    key = _FLAGS.get(flag.lower().replace("compressed-tensors", "").strip(" -_") or flag.lower())
    return _FORMATS[key] if key else None


def from_name(name: str, *, latent: bool = False) -> Quantization | None:
    """The format that a repository's name announces, None when it announces none.

    Publishers of 4-bit copies leave recurrent layers in 16 bits, those of NVFP4 also latent attention. Copies named
    "AWQ-4bit" are compressed-tensors files with groups of 32.
    """
    plain = name.rsplit("/", 1)[-1].lower()
    for pattern, key in _NAMES:
        if re.search(pattern, plain):
            found = _FORMATS[key]
            if key == "nvfp4":
                return replace(found, parts=QuantizedParts(recurrent=False, attention=not latent))
            if "awq-4bit" in plain:
                found = replace(_FORMATS["int4"], group=32)
            return replace(found, parts=replace(found.parts, recurrent=False)) if found.bits == 4 else found
    return None


def from_config(config: Mapping[str, Any]) -> Quantization | None:
    """The format of a checkpoint from its `quantization_config`; None when the weights are not quantized.

    Raises:
        ValueError: the method is not known.
    """
    entry = config.get("quantization_config") or config.get("compression_config")
    if not entry:
        return None
    found = _from_entry(entry)
    return replace(found, fp8_cache=_asks_fp8_cache(entry))


def _asks_fp8_cache(entry: Mapping[str, Any]) -> bool:
    """Whether the checkpoint carries scales for an 8-bit cache, which engines then use by themselves."""
    return bool(entry.get("kv_cache_scheme")) or str(entry.get("kv_cache_quant_algo", "")).upper() == "FP8"


def _from_entry(entry: Mapping[str, Any]) -> Quantization:
    method = str(entry.get("quant_method", entry.get("quant_algo", ""))).lower()
    parts = _parts(entry)
    if method == "compressed-tensors":
        return _compressed(entry, parts)
    if method in _GROUPED:
        bits, group = int(entry.get("bits", entry.get("w_bit", 4))), int(entry.get("group_size", 128))
        return Quantization(method=method, bits=bits, group=max(group, 0), zero_bits=bits, parts=parts)
    key = _FLAGS.get(method)
    if method == "modelopt":
        key = "nvfp4" if "FP4" in str(entry.get("quant_algo", "")).upper() else "fp8"
    elif method == "fp8" and entry.get("weight_block_size"):
        key = "fp8-block"
    elif method == "bitsandbytes" and entry.get("load_in_8bit"):
        key = "bitsandbytes-8bit"
    if key is None:
        raise ValueError(f"quantization_config.quant_method is {method!r}, which Berth cannot size")
    return _FORMATS[key] if key == "mxfp4" else replace(_FORMATS[key], parts=parts)


def _compressed(entry: Mapping[str, Any], parts: QuantizedParts) -> Quantization:
    """compressed-tensors: the first group of the scheme; mixed schemes are taken as that group."""
    scheme: Mapping[str, Any] = next(iter(entry.get("config_groups", {}).values()), {})
    weights: Mapping[str, Any] = scheme.get("weights") or {}
    bits, group = int(weights.get("num_bits", 8)), int(weights.get("group_size") or 0)
    floating = weights.get("type") == "float"
    inputs = scheme.get("input_activations")
    if floating and bits == 4:
        mx = str(scheme.get("format", entry.get("format", ""))).startswith("mxfp4") or group == 32
        base = _FORMATS["mxfp4" if mx else "nvfp4"]
        return replace(base, parts=parts, activations="fp4" if inputs else "16-bit")
    activations = "16-bit" if not inputs else "fp8" if floating else "int8"
    scale = 32 if weights.get("strategy") == "block" else 16
    if weights.get("strategy") == "block":
        group = 128 * 128
    return Quantization(
        method="compressed-tensors",
        bits=bits,
        group=max(group, 0),
        scale_bits=scale,
        activations=activations,  # type: ignore[arg-type]  # one of the four names by construction
        parts=parts,
    )


def _parts(entry: Mapping[str, Any]) -> QuantizedParts:
    """What the lists of unquantized modules leave; each part is named as checkpoints name its modules."""
    ignored = [
        str(module)
        for key in ("ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules", "llm_int8_skip_modules")
        for module in entry.get(key) or ()
    ]
    return QuantizedParts(
        attention=not _covers(ignored, "self_attn", "attention", "q_proj"),
        mlp=not _covers(ignored, r"mlp\.down_proj", "mlp.*", r"layers\.\d+\.mlp$"),
        experts=not _covers(ignored, r"experts\b(?!_gate)"),
        shared_experts=not _covers(ignored, "shared_expert", "shared_experts"),
        recurrent=not _covers(ignored, "linear_attn", "mamba", "mixer", "conv1d"),
        vision=not _covers(ignored, "visual", "vision", "vit") and bool(ignored),
        head=not _covers(ignored, "lm_head") and str(entry.get("lm_head", "")).lower() == "true",
    )


def _covers(ignored: Iterable[str], *names: str) -> bool:
    """Whether several ignore patterns (not one layer's exception) speak of the part."""
    hits = 0
    for pattern in ignored:
        plain = pattern.removeprefix("re:").replace("\\.", ".").replace(".*", "").replace("*", "")
        for name in names:
            word = re.sub(r"[\\()*?!:^$]|\\b|\\d\+", "", name.split("(")[0]).strip(".")
            if word and re.search(rf"(^|[._]){re.escape(word)}($|[._])", plain):
                hits += 10 if pattern.startswith("re:") or "*" in pattern or plain.count(".") <= 1 else 1
                break
    return hits >= 4
