"""What is known of engine releases: their flags, images, CUDA, kernels and model architectures.

Data lies in `engines/`, read from the releases themselves by tools/extract_flags; each file names its origin. A new
release is a line in tools/extract_flags/releases.py and, where its build changed, a row in `engines/releases.yaml`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from packaging.version import Version

from berth.catalogue.tables import table

__all__ = [
    "Cuda",
    "Flag",
    "Flags",
    "Release",
    "architecture_range",
    "flags",
    "newest",
    "quantization_floor",
    "release",
    "rows",
]

FlagType = Literal["switch", "int", "float", "str", "json"]

Capability = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag of an engine release, without its dashes.

    Attributes:
        inverses: other names that set a switch to the opposite (`disable-x` of `enable-x`).
        negatable: whether a switch has its `--no-` form.
        many: whether it takes several words, or may be repeated, or neither.
        first: the first release known to have it in this form.
        last: the last release known to have it in this form.
    """

    name: str
    type: FlagType
    aliases: tuple[str, ...] = ()
    inverses: tuple[str, ...] = ()
    choices: tuple[str | int, ...] = ()
    default: Any = None
    negatable: bool = False
    many: Literal["words", "repeated"] | None = None
    first: str
    last: str

    @property
    def names(self) -> tuple[str, ...]:
        """All spellings that mean this flag."""
        return (self.name, *(alias.lstrip("-") for alias in self.aliases), *self.inverses)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags of one release. `read_from` is the release whose table this is, `exact` whether it is the one asked."""

    engine: str
    version: str
    read_from: str
    exact: bool
    by_name: Mapping[str, Flag]

    def find(self, name: str) -> Flag | None:
        """The flag that a spelling means: with dashes or underscores, by its name or an alias."""
        return self.by_name.get(name.lstrip("-").replace("_", "-"))

    def releases_with(self, name: str) -> list[tuple[str, str]]:
        """The runs of releases of this engine that know a spelling, each with its first and last release."""
        return self._runs(name, lambda _flag: True)

    def releases_taking(self, name: str, choice: str) -> list[tuple[str, str]]:
        """The runs of releases whose flag takes a choice."""
        return self._runs(name, lambda flag: choice in flag.choices)

    def _runs(self, name: str, wanted_of: Callable[[Flag], bool]) -> list[tuple[str, str]]:
        wanted = name.lstrip("-").replace("_", "-")
        order = _releases_read(self.engine)
        places = {
            place
            for flag in _all_flags(self.engine)
            if wanted in flag.names and wanted_of(flag)
            for place in range(order.index(flag.first), order.index(flag.last) + 1)
        }
        firsts = sorted(place for place in places if place - 1 not in places)
        lasts = sorted(place for place in places if place + 1 not in places)
        return [(order[first], order[last]) for first, last in zip(firsts, lasts, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Cuda:
    """A CUDA version and the drivers that run it: `own` came with it, `minor` is the oldest that can."""

    version: str
    own: Version
    minor: Version


@dataclass(frozen=True, kw_only=True)
class Release:
    """How a release was built. `exact` is False for one newer than those known.

    Attributes:
        image: the release's container image with its tag.
        cuda: the CUDA of that image.
        variants: images of the same release for other CUDA versions.
        capabilities: compute capabilities with kernels of their own.
        ptx: the capability whose code the driver compiles for later cards, if any.
    """

    engine: str
    version: str
    exact: bool
    image: str
    cuda: Cuda
    variants: tuple[tuple[Cuda, str], ...]
    capabilities: tuple[Capability, ...]
    ptx: Capability | None

    def kernels_for(self, capability: Capability) -> Literal["native", "ptx"] | None:
        """Whether the card has kernels of its own, must compile them from PTX, or has none."""
        major, minor = capability
        if any(has_major == major and has_minor <= minor for has_major, has_minor in self.capabilities):
            return "native"
        return "ptx" if self.ptx is not None and self.ptx <= capability else None


def flags(engine: str, version: str) -> Flags:
    """The flags of a release; of the nearest older one (else the oldest) when it is not among those read."""
    known = _releases_read(engine)
    wanted = Version(version)
    older = [held for held in known if Version(held) <= wanted]
    read_from = older[-1] if older else known[0]
    return Flags(
        engine=engine, version=version, read_from=read_from, exact=Version(read_from) == wanted,
        by_name=_table(engine, read_from),
    )  # fmt: skip


def release(engine: str, version: str) -> Release | None:
    """How a release was built; None for one older than those known."""
    rows = [row for row in _builds()["engines"][engine]["releases"] if Version(row["from"]) <= Version(version)]
    if not rows:
        return None
    row = rows[-1]
    image = _builds()["engines"][engine]["image"].format(version=version)
    return Release(
        engine=engine,
        version=version,
        exact=Version(version) <= Version(newest(engine)),
        image=image,
        cuda=_cuda(row["cuda"]),
        variants=tuple((_cuda(cuda), image + suffix) for cuda, suffix in row.get("variants", {}).items()),
        capabilities=tuple(_capability(text) for text in row["capabilities"]),
        ptx=_capability(row["ptx"]) if "ptx" in row else None,
    )


def newest(engine: str, device: Literal["cuda", "cpu"] = "cuda") -> str:
    """The newest release that is known of an engine; builds for CPU come later than the release itself."""
    known = _builds()["newest"]
    return str(known["cpu"].get(engine, known[engine]) if device == "cpu" else known[engine])


def rows(engine: str) -> list[Release]:
    """One release for each change of an engine's build, oldest first: the first release of each row."""
    found = [release(engine, row["from"]) for row in _builds()["engines"][engine]["releases"]]
    return [held for held in found if held is not None]


def quantization_floor(version: str, method: str) -> Capability | None:
    """The least compute capability that vLLM asks of a quantization; None when it asks none or has no such method."""
    read_from = flags("vllm", version).read_from
    order = {name: place for place, name in enumerate(_releases_read("vllm"))}
    for row in _read("vllm/quantizations.json")["quantizations"]:
        if row["name"] == method and order[row["from"]] <= order[read_from] <= order[row["to"]] and row["capability"]:
            return divmod(int(row["capability"]), 10)
    return None


def architecture_range(engine: str, architecture: str) -> tuple[str, str | None] | None:
    """The first release that serves a model architecture and the last (None while it still does).

    None when the architecture is in no registry that was read; for engines whose registries were not, always.
    """
    if engine != "vllm":
        return None
    found: Sequence[str] | None = _read("vllm/architectures.json")["architectures"].get(architecture)
    if found is None:
        return None
    return found[0], found[1] if len(found) > 1 else None


@cache
def _read(path: str) -> Any:
    return json.loads(resources.files(__package__).joinpath("engines", path).read_text(encoding="utf-8"))


@cache
def _builds() -> Any:
    return table(__package__, "engines/releases.yaml")


@cache
def _releases_read(engine: str) -> tuple[str, ...]:
    return tuple(_read(f"{engine}/flags.json")["releases"])


@cache
def _all_flags(engine: str) -> tuple[Flag, ...]:
    return tuple(
        Flag(
            name=row["name"],
            type=row["type"],
            aliases=tuple(row.get("aliases", ())),
            inverses=tuple(row.get("inverses", ())),
            choices=tuple(row.get("choices", ())),
            default=row.get("default"),
            negatable=row.get("negatable", False),
            many=row.get("many"),
            first=row["from"],
            last=row["to"],
        )
        for row in _read(f"{engine}/flags.json")["flags"]
    )


@cache
def _table(engine: str, read_from: str) -> Mapping[str, Flag]:
    order = {version: place for place, version in enumerate(_releases_read(engine))}
    place = order[read_from]
    held = [flag for flag in _all_flags(engine) if order[flag.first] <= place <= order[flag.last]]
    return {name: flag for flag in held for name in reversed(flag.names)} | {flag.name: flag for flag in held}


@cache
def _cuda(version: str) -> Cuda:
    drivers = _builds()["drivers"][version]
    return Cuda(version=version, own=Version(drivers["own"]), minor=Version(drivers["minor"]))


def _capability(text: str) -> Capability:
    major, minor = text.split(".")
    return int(major), int(minor)
