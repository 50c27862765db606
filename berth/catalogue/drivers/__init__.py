"""NVIDIA drivers: which CUDA a driver runs, which card a driver drives, how long a branch lives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from packaging.version import Version

from berth.catalogue.gpus import Gpu
from berth.catalogue.tables import table

__all__ = [
    "LONG_LIVED",
    "Branch",
    "branch_of",
    "default_branch",
    "is_of",
    "minimum_for_cuda",
    "native_cuda",
    "open_only",
    "packager",
    "problems",
    "shown",
    "signing_key",
    "upstream",
]

LONG_LIVED = 580
"""The branch that drives everything from Maxwell to Blackwell, with updates until June 2028."""

_DRIVER_PACKAGE = re.compile(
    r"^((lib)?nvidia-(?!settings|modprobe|prime|xconfig)|cuda-drivers|kmod-nvidia|linux-modules-nvidia|firmware-nvidia-"
    r"|lib(cuda1|nvcuvid1|nvoptix1)$|lib(egl|gles|gl|glx)-nvidia|xserver-xorg-video-nvidia)"
)
_DRIVER_VERSION = re.compile(r"^(\d+:)?(\d{3,4}(\.\d+){1,2})([-~+.].*)?$")


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A driver branch: its number, its kind (`LTS`, `production`, `new feature`, `unknown`) and its last day."""

    number: int
    kind: str
    end: date | None


def shown(driver: Version) -> str:
    """A driver version as NVIDIA writes it: parts after the first have two digits at least (580.65.06)."""
    first, *rest = driver.release
    return ".".join([str(first), *(f"{part:02d}" for part in rest)])


def is_of(version: str, asked: str) -> bool:
    """Whether a driver's version is the one that is asked for, or of the branch (580) that is."""
    return version == asked or version.startswith(f"{asked}.")


def branch_of(driver: Version) -> Branch:
    """The branch of a driver version, `unknown` where the catalogue does not list it."""
    row = _document()["branches"].get(str(driver.major))
    if row is None:
        return Branch(number=driver.major, kind="unknown", end=None)
    return Branch(number=driver.major, kind=row["kind"], end=row.get("end"))


def minimum_for_cuda(cuda: Version) -> Version:
    """The least driver for an image of that CUDA release, by minor-version compatibility.

    Raises:
        LookupError: the major version is not in the catalogue.
    """
    least = _document()["minimum"].get(str(cuda.major))
    if least is None:
        raise LookupError(f"CUDA {cuda} is not in the catalogue of drivers")
    return Version(str(least))


def native_cuda(driver: Version) -> Version | None:
    """The newest CUDA release that the driver's branch runs by itself; None before 525."""
    known = {int(number): Version(str(cuda)) for number, cuda in _table("native").items()}
    numbers = [number for number in known if number <= driver.major]
    return known[max(numbers)] if numbers else None


def open_only(driver: Version) -> bool:
    """Whether the branch's packages hold open kernel modules only."""
    return driver.major >= int(_document()["open_only_from"]["branch"])


def upstream(name: str, version: str) -> str | None:
    """The driver's own version in that of a package; None where the package is none of the driver's."""
    found = _DRIVER_VERSION.match(version) if _DRIVER_PACKAGE.match(name) else None
    return found[2] if found else None


def packager(name: str, version: str) -> str | None:
    """Whose an installed package of the driver is: `nvidia`, `ubuntu` or `debian`; None where it may be anybody's."""
    if _DRIVER_PACKAGE.match(name) is None:
        return None
    for row in _document()["packagers"]["rows"]:
        if "name" in row and re.search(row["name"], name):
            return str(row["owner"])
        if "version" in row and upstream(name, version) and re.search(row["version"], version):
            return str(row["owner"])
    return None


def signing_key(system: str) -> str:
    """Where DKMS on an operating system (os-release's ID) has the key that it signs modules with."""
    keys = _document()["signing_keys"]
    return str(keys.get(system, keys["other"]))


def problems(driver: Version, gpu: Gpu, cuda: Version | None = None) -> tuple[str, ...]:
    """What stands between a driver and a card, and an image's CUDA; nothing when they go together.

    Each is one sentence: what is, what must be, what to do.
    """
    found: list[str] = []
    if driver < gpu.minimum_driver:
        found.append(
            f"driver {shown(driver)} does not know {gpu.name}; {shown(gpu.minimum_driver)} or newer does, install "
            f"branch {max(gpu.minimum_driver.major, default_branch(gpu))}"
        )
    if gpu.last_branch is not None and driver.major > gpu.last_branch:
        found.append(
            f"driver {shown(driver)} has dropped {gpu.name}; branch {gpu.last_branch} is the last to drive it, pin it"
        )
    if gpu.open_modules == "unsupported" and open_only(driver):
        found.append(
            f"driver {shown(driver)} has open kernel modules only, {gpu.name} needs the proprietary ones; "
            f"pin branch {gpu.last_branch}"
        )
    if cuda is not None and driver < minimum_for_cuda(cuda):
        least = minimum_for_cuda(cuda)
        found.append(
            f"driver {shown(driver)} cannot run CUDA {cuda}; {shown(least)} or newer can, install branch "
            f"{max(least.major, default_branch(gpu))} or choose an image with an older CUDA"
        )
    return tuple(found)


def default_branch(gpu: Gpu) -> int:
    """The branch to name where nothing is said: the long-lived one, or the first that drives the card."""
    return max(LONG_LIVED, gpu.minimum_driver.major)


def _table(name: str) -> dict[str, Any]:
    return {key: value for key, value in _document()[name].items() if key != "source"}


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = table(__name__, "drivers.yaml")
    return document
