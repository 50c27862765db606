"""Numbers of a config.json under the several names that model families give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["HEADS", "HIDDEN", "LAYERS", "MissingNumbers", "number"]

HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")


class MissingNumbers(ValueError):
    """A config.json lacks a number that every model needs."""


def number(text: Mapping[str, Any], *keys: str) -> int:
    """The first of the named numbers that is there.

    Raises:
        MissingNumbers: none of them is.
    """
    for key in keys:
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise MissingNumbers(f"config.json has no {keys[0]}; a model's config.json must have it to be sized")
