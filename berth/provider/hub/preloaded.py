"""Whether a snapshot that somebody else put there can be served: a host without a way to the hub. Runs on the host."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from berth.provider.hub.folder import file_size

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "spiece.model")


def whole(snapshot: Path) -> dict[str, int] | None:
    """The files of a snapshot with their sizes, None unless configuration, tokenizer and all weights are there.

    An adapter has a configuration of its own, and its model's tokenizer.

    Every safetensors file begins with the places of its tensors, the last of which ends the file:
    https://huggingface.co/docs/safetensors (format).
    """
    model = (snapshot / "config.json").is_file() and any((snapshot / name).is_file() for name in _TOKENIZERS)
    if not model and not (snapshot / "adapter_config.json").is_file():
        return None
    weights = list(snapshot.glob("*.safetensors"))
    try:
        for index in snapshot.glob("*.safetensors.index.json"):
            weights += [snapshot / name for name in set(json.loads(index.read_text())["weight_map"].values())]
        if not weights or any(file_size(file) != _end(file) for file in weights):
            return None
    except (OSError, ValueError, KeyError, struct.error):
        return None
    return {str(f.relative_to(snapshot)): file_size(f) for f in snapshot.rglob("*") if f.is_file()}


def _end(file: Path) -> int:
    with file.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        if length > file_size(file):
            return -1
        tensors = json.loads(content.read(length))
    ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
    return 8 + int(length) + int(max(ends, default=0))
