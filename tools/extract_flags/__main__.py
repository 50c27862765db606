"""`python -m tools.extract_flags vllm|sglang`: reads releases from the package index and writes the catalogue's files.

A rerun gives the same files. A new release is one entry in releases.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version

from tools.extract_flags import merge, releases
from tools.extract_flags.architectures import architectures
from tools.extract_flags.fetch import sources
from tools.extract_flags.quantizations import literal, quantizations

_HERE = Path(__file__).parent
_REGISTERED = {
    "quantization": ("vllm/model_executor/layers/quantization/__init__.py", "QuantizationMethods"),
    "load-format": ("vllm/model_executor/model_loader/__init__.py", "LoadFormats"),
}
"""Where vLLM lists the built-in choices of flags that plugins may add to."""

_CATALOGUE = _HERE.parent.parent / "berth/catalogue/engines"


def main() -> None:
    """Reads the chosen engine's releases and writes its files."""
    parser = argparse.ArgumentParser(prog="python -m tools.extract_flags", description=__doc__)
    parser.add_argument("engine", choices=["vllm", "sglang"])
    parser.add_argument("--cache", type=Path, default=Path(".berth/cache/engine-sources"), help="keeps fetched sources")
    parser.add_argument("--to", type=Path, default=_CATALOGUE, help="the folder of the data files")
    chosen = parser.parse_args()
    listed = releases.VLLM if chosen.engine == "vllm" else releases.SGLANG
    folders = {version: sources(*listed[version], chosen.cache) for version in sorted(listed, key=Version)}
    tables = {version: read(chosen.engine, folder) for version, folder in folders.items()}
    write_flags(chosen.engine, tables, {version: "==".join(listed[version]) for version in folders}, chosen.to)
    if chosen.engine == "vllm":
        write_architectures({version: architectures(folder) for version, folder in folders.items()}, chosen.to)
        write_quantizations({version: quantizations(folder) for version, folder in folders.items()}, chosen.to)


def read(engine: str, folder: Path) -> list[dict[str, Any]]:
    """The flags of one release, read in an interpreter of its own.

    Raises:
        SystemExit: the engine's parser could not be built; names the release.
    """
    command = [sys.executable, "-I", str(_HERE / f"read_{engine}.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{folder}: its flags could not be read\n{done.stderr[-2000:]}")
    flags: list[dict[str, Any]] = json.loads(done.stdout)
    for flag in flags if engine == "vllm" else []:
        # From 0.9.2 and 0.10.1 on plugins may add to these, so the parser no longer lists them; the registry does.
        path, name = _REGISTERED.get(flag["name"], ("", ""))
        if path and "choices" not in flag and (choices := literal(folder / path, name)):
            flag["choices"] = choices
    return flags


def write_flags(engine: str, tables: Mapping[str, list[dict[str, Any]]], origins: Mapping[str, str], to: Path) -> None:
    """Writes `flags.json` of an engine."""
    head = {
        "origin": "the argument parser of each release, read from its package by tools/extract_flags; "
        "defaults are those of CUDA",
        "releases": dict(origins),
    }
    text = merge.one_per_line(head, "flags", merge.flags_by_range(tables))
    (to / engine / "flags.json").write_text(text, encoding="utf-8")


def write_architectures(tables: Mapping[str, set[str]], to: Path) -> None:
    """Writes `architectures.json`; `earlier_architectures.json` knows what is older than the oldest release read."""
    earlier = json.loads((to / "vllm/earlier_architectures.json").read_text(encoding="utf-8"))
    ranges = merge.architectures_by_range(tables, earlier["first_version"], next(iter(tables)))
    head = {
        "origin": "the model registry of each release, read from its package by tools/extract_flags; "
        "first releases before the oldest of them from earlier_architectures.json",
        "releases": list(tables),
    }
    text = merge.one_per_line(head, "architectures", ranges)
    (to / "vllm/architectures.json").write_text(text, encoding="utf-8")


def write_quantizations(tables: Mapping[str, Mapping[str, int]], to: Path) -> None:
    """Writes `quantizations.json`."""
    head = {
        "origin": "QuantizationMethods and get_min_capability of each release, read from its package by "
        "tools/extract_flags; capability in tenths, 0 where none is said",
        "releases": list(tables),
    }
    text = merge.one_per_line(head, "quantizations", merge.quantizations_by_range(tables))
    (to / "vllm/quantizations.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
