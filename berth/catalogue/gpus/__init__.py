"""The GPUs that Berth knows: rows of `gpus.yaml`, each number with its origin.

A new card is a new row. `find` takes what a stack file, a data sheet or the driver calls the card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from packaging.version import Version

from berth.catalogue.tables import table
from berth.catalogue.units import Bytes

__all__ = ["Gpu", "OpenModules", "UnknownGpu", "all_gpus", "find", "same_size"]

OpenModules = Literal["required", "recommended", "supported", "unsupported"]
"""Whether the open kernel modules drive the card: the only flavour, the better one, one of two, or not at all."""

_TOLERANCE = 0.03
"""ECC, MIG and the driver's age move the reported total: totals are compared within 3 %, never for equality."""

_UNREPORTED = 0.985
"""CUDA's total over the driver's where nobody has published it; the known cards lie between 0.978 and 0.996."""


class UnknownGpu(LookupError):
    """No row of the catalogue has this name."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One kind of card.

    Attributes:
        id: the name in stack files, such as `rtx-5090`.
        memory: the total that the driver reports (nvidia-smi's memory.total).
        cuda_total: the total that CUDA reports, of which an engine's share is a fraction.
        context: what one idle CUDA process holds on the card before it loads anything.
        bandwidth: memory bandwidth in GB/s.
        minimum_driver: the first driver that knows the card.
        last_branch: the last driver branch that still knows it, None while it is current.
        nvlink: GB/s to other cards of the host, None without NVLink.
        nvswitch: the host needs the fabric manager.
        forward_compatible: cuda-compat packages may drive it with an older driver (data-center cards).
        unified: GPU and CPU share one memory, so free memory is the system's.
        origins: where each number comes from, by field.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    memory: Bytes
    cuda_total: Bytes
    context: Bytes
    compute_capability: tuple[int, int]
    bandwidth: float
    bf16: bool
    fp8: bool
    fp4: bool
    minimum_driver: Version
    last_branch: int | None
    open_modules: OpenModules
    nvlink: float | None
    nvswitch: bool
    forward_compatible: bool
    unified: bool
    origins: Mapping[str, str]

    @property
    def a100(self) -> bool:
        """Whether vLLM's defaults treat the card as an A100 (by its name)."""
        return "a100" in self.name.lower()


def all_gpus() -> tuple[Gpu, ...]:
    """Every card of the catalogue, in the order of the file."""
    return tuple(_by_id().values())


@cache
def find(name: str, memory: Bytes | None = None) -> Gpu:
    """The card of a name: its id, an alias, or the name that the driver reports.

    Where one name covers cards of two sizes (A100 40 and 80 GB), `memory` as the driver reports it decides.

    Raises:
        UnknownGpu: no card has the name; the message lists the nearest ids.
    """
    wanted = _plain(name)
    found = [gpu for gpu in all_gpus() if wanted in _names(gpu)]
    if memory is not None and len(found) != 1:
        found = [gpu for gpu in found if same_size(gpu.memory, memory)] or found
    if not found:
        raise UnknownGpu(f"{name!r} is not in the catalogue of GPUs; known are {', '.join(_by_id())}")
    return found[0]


def same_size(left: Bytes, right: Bytes) -> bool:
    """Whether two reported totals can be the same card (within 3 %)."""
    return abs(int(left) - int(right)) <= _TOLERANCE * max(left, right)


def _names(gpu: Gpu) -> frozenset[str]:
    return frozenset(_plain(name) for name in (gpu.id, gpu.name, *gpu.aliases))


def _plain(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    return "".join(word for word in words if word not in {"nvidia", "geforce", "tesla"})


@cache
def _by_id() -> dict[str, Gpu]:
    document = table(__name__, "gpus.yaml")
    defaults, sources = document["origins"], document["sources"]
    return {key: _gpu(key, row, defaults, sources) for key, row in document["gpus"].items()}


def _gpu(key: str, row: Mapping[str, Any], defaults: Mapping[str, str], sources: Mapping[str, str]) -> Gpu:
    memory = Bytes.from_mib(row["memory_mib"])
    major, minor = str(row["compute_capability"]).split(".")
    origins = {field: sources[source] for field, source in {**defaults, **row.get("origins", {})}.items()}
    cuda = row.get("cuda_gib")
    if cuda is None:
        origins["cuda_gib"] = sources["estimate"]
    return Gpu(
        id=key,
        name=row["name"],
        aliases=tuple(row.get("aliases", ())),
        memory=memory,
        cuda_total=Bytes(round(memory * _UNREPORTED)) if cuda is None else Bytes.from_gib(cuda),
        context=Bytes.from_gib(row["context_gib"]),
        compute_capability=(int(major), int(minor)),
        bandwidth=row["bandwidth_gb_s"],
        bf16=row["bf16"],
        fp8=row["fp8"],
        fp4=row["fp4"],
        minimum_driver=Version(str(row["minimum_driver"])),
        last_branch=row.get("last_branch"),
        open_modules=row["open_modules"],
        nvlink=row.get("nvlink_gb_s"),
        nvswitch=row.get("nvswitch", False),
        forward_compatible=row["forward_compatible"],
        unified=row.get("unified", False),
        origins=origins,
    )
