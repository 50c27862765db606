"""Which files of a model serving needs. Runs on the host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from berth.provider.hub.stop import Stop

WEIGHTS = ("safetensors", "bin", "pt", "pth")
"""Formats that engines load, best first; of each folder only the best that it has is taken."""

OTHER_FORMATS = frozenset({"original", "onnx", "openvino", "coreml", "gguf", "flax", "tflite", "metal", "assets"})
"""Folders that hold the same model for other programs, or pictures."""

_NEVER = re.compile(
    r"\.(onnx|onnx_data|gguf|ggml|h5|msgpack|ot|tflite|mlmodel|pb|tar|gz|zip|png|jpe?g|gif|svg|webp|pdf|mp[34]|wav|md|"
    r"ipynb|parquet)$|(^|/)(\.git[^/]*|training_args\.bin|optimizer[^/]*|scheduler\.(pt|bin)|rng_state[^/]*)$",
    re.IGNORECASE,
)
_LARGE = 2**20


class Listed(NamedTuple):
    """One file as the hub lists it: `blob` names its content (SHA-256 of a large file, else its git blob id)."""

    path: str
    size: int
    blob: str


def serving_needs(files: Sequence[Listed]) -> list[Listed]:
    """Of all files of a model those that an engine reads: one format of weights for each folder, and no papers.

    Raises:
        Stop: no weights are among them.
    """
    kept = [f for f in files if not _NEVER.search(f.path) and OTHER_FORMATS.isdisjoint(f.path.lower().split("/")[:-1])]
    names: dict[str, set[str]] = {}
    for file in kept:
        folder, _, name = file.path.rpartition("/")
        names.setdefault(folder, set()).add(name)
    if not any(format_of(name) and not name.endswith(".json") for name in names.get("", ())):
        large = sorted({f".{f.path.rpartition('.')[2]}" for f in files if f.size > _LARGE})
        raise Stop(
            "weights", f"it has no weights that an engine loads; its large files are {', '.join(large) or 'none'}"
        )
    return [file for file in kept if _is_wanted(file.path, names)]


def _is_wanted(path: str, names: dict[str, set[str]]) -> bool:
    folder, _, name = path.rpartition("/")
    beside = names[folder]
    if not format_of(name):
        return True
    if format_of(name) != min(filter(None, map(format_of, beside)), key=WEIGHTS.index):
        return False
    # `consolidated` is a second copy of the same weights in their maker's own layout.
    return not name.startswith("consolidated") or not any(re.match(r"model.*\.safetensors$", other) for other in beside)


def format_of(name: str) -> str:
    """The format of weights that a file holds or is the index of; empty for every other file."""
    ending = name.removesuffix(".index.json").rpartition(".")[2]
    return ending if ending in WEIGHTS else ""
