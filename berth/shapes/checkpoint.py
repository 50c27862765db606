"""From a model's files to its shape: the configuration, and the sizes of its tensors as exactly as can be had."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from berth.catalogue.models import ModelShape, StoredWeights, read_config, stored_weights
from berth.planner.memory import total_of_index, with_total
from berth.shapes.files import Files, Unreadable

__all__ = ["Checkpoint", "read_checkpoint", "shape_of"]

_LAYERS = 10_000
"""No model has so many layers."""

_COUNTED = ("layer", "layers", "depth")
"""How the names of numbers of layers end."""

_NUMBER = 10**13
"""No number of a model is larger: parameters of the largest parts have twelve digits."""

_SHAPE = TypeAdapter(ModelShape)

_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What was read of a model.

    Attributes:
        config: its config.json.
        stored: the sizes of its tensors; None where there are no headers.
        total: the bytes that its index states, where only that is known.
        problem: why the sizes are not exact; asking again may give more.
    """

    config: Mapping[str, Any]
    stored: StoredWeights | None = None
    total: int | None = None
    problem: str | None = None


def read_checkpoint(files: Files) -> Checkpoint:
    """Reads what there is.

    Raises:
        Unreadable: there is no usable config.json.
    """
    names = files.names()
    if "config.json" not in names:
        raise Unreadable("it has no config.json; a model's folder must have one")
    config = _document(files, "config.json")
    shape = _shape(config)
    total = None
    try:
        index = _index(files, names)
        total = total_of_index(index) if index is not None else None
        headers = files.headers(_weights(names, index))
    except Unreadable as problem:
        return Checkpoint(config=config, total=total, problem=str(problem))
    stored = stored_weights(headers, layers=shape.layers, tied=shape.tied) if headers else None
    return Checkpoint(config=config, stored=stored)


def shape_of(checkpoint: Checkpoint, *, name: str, origin: str) -> ModelShape:
    """The shape that the planner counts with.

    Raises:
        Unreadable: the configuration does not describe a model.
    """
    shape = replace(_shape(checkpoint.config), name=name)
    if checkpoint.stored is not None:
        return replace(shape, stored=checkpoint.stored, origin=f"{origin}: config.json and safetensors headers")
    if checkpoint.total is not None and shape.dtype not in {"float32", "float64"}:  # engines load those in 16 bits
        return replace(with_total(shape, checkpoint.total), origin=f"{origin}: config.json and {_INDEX}")
    return replace(shape, origin=f"{origin}: config.json")


def _shape(config: Mapping[str, Any]) -> ModelShape:
    """What the configuration says, when every number of it can be counted with."""
    try:
        if problem := _unsound(shape := _read(config)):
            raise ValueError(problem)  # noqa: TRY301 - said as whatever else is wrong with it
    except ValidationError as problem:
        text = f"{problem.errors()[0]['loc'][0]} is of another kind"
    except Exception as problem:  # noqa: BLE001 - a config.json may hold anything anywhere; whatever it breaks is its fault
        text = str(problem) or type(problem).__name__
    else:
        return shape
    raise Unreadable(f"its config.json cannot be used ({text})")


def _read(config: Mapping[str, Any]) -> ModelShape:
    """The shape, with every part of the type that it should have."""
    if _most_layers(config) > _LAYERS:
        raise ValueError("it has more layers than any model")
    return _SHAPE.validate_json(json.dumps(asdict(read_config(config))), strict=True)


def _unsound(shape: ModelShape) -> str | None:
    """What keeps a shape from being counted with."""
    divisors = [shape.heads, *(each for part in shape.attention for each in (part.heads, part.kv_heads, part.head_dim))]
    if shape.latent is not None:
        divisors.append(shape.latent.kv_rank + shape.latent.rope_dim)
    if shape.vision is not None:
        divisors += [shape.vision.merge, shape.vision.heads]
    if shape.experts is not None:
        divisors += [shape.experts.count, shape.experts.intermediate]
    if not all(divisors) or not all(0 <= number <= _NUMBER for number in _numbers(asdict(shape))):
        return "a number in it is nothing, negative, or larger than that of any model"
    return None


def _most_layers(value: Any) -> int:
    """The largest number of layers anywhere in a configuration; the layers are walked one by one later."""
    if not isinstance(value, dict):
        return 0
    here = [said for key, said in value.items() if key.endswith(_COUNTED) and isinstance(said, int)]
    return max([0, *here, *map(_most_layers, value.values())])


def _numbers(value: Any) -> Iterator[float]:
    """All numbers in nested parts."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value


def _document(files: Files, name: str) -> Mapping[str, Any]:
    try:
        document = json.loads(files.whole(name))
    except (ValueError, RecursionError):
        raise Unreadable(f"its {name} is no JSON") from None
    if not isinstance(document, dict):
        raise Unreadable(f"its {name} is no JSON object")
    return document


def _index(files: Files, names: Sequence[str]) -> Mapping[str, Any] | None:
    """The index, where there is one, with parts of the right kind."""
    if _INDEX not in names:
        return None
    index = _document(files, _INDEX)
    if not isinstance(index.get("metadata", {}), dict) or not isinstance(index.get("weight_map"), dict):
        raise Unreadable(f"its {_INDEX} has no weight_map")
    return index


def _weights(names: Sequence[str], index: Mapping[str, Any] | None) -> Sequence[str]:
    """The safetensors files that an engine loads: those of the index, else all but a second copy and adapters.

    Raises:
        Unreadable: some of them are missing.
    """
    if index is not None:
        wanted = {str(name) for name in index["weight_map"].values()}
        if missing := sorted(wanted - set(names)):
            raise Unreadable(f"its {_INDEX} names {missing[0]}, which is not there{_more(missing)}")
        return sorted(wanted)
    found = [name for name in names if name.endswith(".safetensors") and not name.startswith("adapter_")]
    if any(name.startswith("model") for name in found):
        found = [name for name in found if not name.startswith("consolidated")]
    for name in found:
        part = re.search(r"^(.*)-\d+-of-(\d+)\.safetensors$", name)
        if part and int(part[2]) != sum(other.startswith(f"{part[1]}-") for other in found):
            raise Unreadable(f"it has not all {int(part[2])} parts of {part[1]}")
    return found


def _more(missing: Sequence[str]) -> str:
    return f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
