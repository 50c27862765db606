"""The catalogue of well-known models, so that a plan needs no network: `known.json`, one config.json excerpt each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

from berth.catalogue.models.config import read_config
from berth.catalogue.models.quantization import from_name
from berth.catalogue.models.shape import ModelShape, Quantization

__all__ = ["UnknownModel", "find", "names"]

_TUNING = re.compile(
    r"-(instruct|chat|it|base|hf|bf16|fp16|f16|dynamic|unsloth|ct|qat|gguf|marlin|quantized|pt|thinking|captioner|"
    r"awq|gptq|int4|int8|fp8|nvfp4|mxfp4|fp4|w4a16|w8a8|w8a16|w4a4|w8a8kv8|bnb|4bit|8bit|g128|g32|gs128|int|"
    r"asym|sym|autoround|auto|round|q4|0|preview|torchao|kv|block|hybrid|original|autofp8|compressed|tensors|channelwise|"
    r"\d+b-\d+g|mixed|abliterated|uncensored|heretic|distill|merged|sft|dpo|grpo|lora|finetuned|ft|v\d+_k_m|q4_k_m|bits?)(?=-|$)"
)


class UnknownModel(LookupError):
    """The catalogue has no such model."""


def names() -> tuple[str, ...]:
    """The repositories in the catalogue."""
    return tuple(_rows())


@cache
def find(name: str) -> ModelShape:
    """The shape of a well-known model by its repository name, or of a quantized or tuned copy of one.

    A copy is recognised by its name (`RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic`, `/models/Qwen2___5-3B`); its format
    is what the name announces, unless the catalogue has the copy itself.

    Raises:
        UnknownModel: nothing in the catalogue has this name.
    """
    exact = _lower().get(name.lower().strip("/"))
    if exact is not None:
        return _shape(exact, name)
    for plain in _spellings(name):
        key = _by_plain().get(plain)
        if key is not None:
            shape = _shape(key, name)
            announced = from_name(name, latent=shape.latent is not None)
            if shape.quantization is not None and _same_format(name, announced, shape.quantization):
                return shape
            return replace(shape, quantization=announced, origin=f"{shape.origin}; as {key}, by its name")
    raise UnknownModel(f"{name!r} is not in the catalogue of models; its config.json is needed to size it")


def _same_format(name: str, announced: Quantization | None, own: Quantization) -> bool:
    """Whether a copy keeps its model's own format: it says nothing else, and not that it is in 16 bits."""
    if announced is None:
        return re.search(r"bf16|fp16|16bit", name.lower()) is None
    return announced.method == own.method


def _spellings(name: str) -> tuple[str, ...]:
    """The bare model name, then with the words for tuning, format and date taken off one by one."""
    bare = (
        name.rstrip("/")
        .rsplit("/", 1)[-1]
        .lower()
        .replace("___", ".")
        .replace(" ", "-")
        .replace("quantized.", "quantized-")
    )
    bare = bare.split(":")[0].replace("_", "-")
    candidates = [_plain(bare), _plain(_stripped(bare))]
    dated = re.sub(r"-(\d{4}|v\d+(\.\d+)?|\d{2}-\d{2}|\d{8})(?=-|$)", "", _stripped(bare))
    candidates.append(_plain(dated))
    short = re.sub(r"^(meta|nvidia|google|qwen|mistralai|deepseek-ai|openai|microsoft)-", "", dated)
    candidates.append(_plain(short))
    return tuple(dict.fromkeys(candidates))


def _stripped(bare: str) -> str:
    previous = ""
    while previous != bare:
        previous, bare = bare, _TUNING.sub("", bare)
    return bare


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text)


@cache
def _rows() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files(__name__.rpartition(".")[0]).joinpath("known.json").read_text(encoding="utf-8")
    document: Mapping[str, Any] = json.loads(text)
    models: Mapping[str, Mapping[str, Any]] = document["models"]
    return models


@cache
def _lower() -> Mapping[str, str]:
    return {name.lower(): name for name in _rows()}


@cache
def _by_plain() -> Mapping[str, str]:
    """Every way to write a model's name to its row; the first row of a name keeps it."""
    found: dict[str, str] = {}
    for stage in range(4):
        for key, row in _rows().items():
            for name in (key, *row.get("aliases", ())):
                spellings = _spellings(name)
                found.setdefault(spellings[min(stage, len(spellings) - 1)], key)
    return found


def _shape(key: str, name: str) -> ModelShape:
    row = _rows()[key]
    config = row["config"]
    if "like" in row:
        config = {**_rows()[row["like"]]["config"], **config}
    return read_config(config, name=name, origin=row["origin"])
