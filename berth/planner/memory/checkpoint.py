"""Weights from a checkpoint's total size, where only its index is known (model.safetensors.index.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from berth.catalogue.models import ModelShape, StoredWeights
from berth.planner.memory.weights import parameters

__all__ = ["total_of_index", "with_total"]

_SIXTEEN_BITS = 2


def total_of_index(index: Mapping[str, Any]) -> int | None:
    """The bytes of all tensors that an index states, None where it does not."""
    total = (index.get("metadata") or {}).get("total_size")
    return int(total) if isinstance(total, int | float) and total > 0 else None


def with_total(shape: ModelShape, total: int) -> ModelShape:
    """The shape with weights that sum to `total` bytes, divided by part as the architecture has them.

    Embedding and output layer keep 16 bits, which formats leave alone; the rest is scaled. A total that leaves nothing
    for the rest is not of this model, and the shape is returned as it is.
    """
    count = parameters(shape)
    embedding, head = count.embedding * _SIXTEEN_BITS, count.head * _SIXTEEN_BITS
    rest = count.total - count.embedding - count.head
    if rest <= 0 or total <= embedding + head:
        return shape
    width = (total - embedding - head) / rest
    replicated = round((count.replicated + count.latent_shared) * width)
    keys_values, vision = round(count.keys_values * width), round(count.vision * width)
    return replace(
        shape,
        stored=StoredWeights(
            sharded=total - embedding - head - replicated - keys_values - vision,
            replicated=replicated,
            embedding=embedding,
            head=head,
            keys_values=keys_values,
            vision=vision,
        ),
    )
