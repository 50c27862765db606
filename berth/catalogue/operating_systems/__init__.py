"""Operating systems that Berth can prepare: their repositories, signing keys and package names, from `systems.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal

from berth.catalogue.tables import table

__all__ = ["Driver", "Flavour", "Owner", "Repository", "System", "all_systems", "find"]

Owner = Literal["nvidia", "docker", "container_toolkit"]
"""Whose repository: NVIDIA's with the driver, Docker's, or that of the container toolkit."""

Flavour = Literal["open", "proprietary"]


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A signed package repository.

    Attributes:
        name: the name of its files on a host.
        suite: apt's suite, `/` for a flat repository; empty for dnf.
        key: the address of the signing key.
        fingerprint: the key's full fingerprint; None where none is known to compare with.
        signed: what its publisher signs, where dnf must be told.
        label: what its index calls itself, where apt is told which of its packages come `first`, before those that
            the distribution has under the same names; those that are not named come after them.
    """

    name: str
    uri: str
    suite: str
    components: tuple[str, ...]
    key: str
    fingerprint: str | None
    signed: Literal["packages", "metadata", "both"]
    label: str
    first: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The packages of one driver on one system.

    Attributes:
        packages: what is installed, kernel modules and user space without a desktop.
        pinning: the package that keeps everything at the branch or version; None where another way does.
        stream: dnf's module stream, such as `nvidia-driver:580-open`; None without modules.
        fabric_manager: the fabric manager's package.
    """

    packages: tuple[str, ...]
    pinning: str | None
    stream: str | None
    fabric_manager: str


@dataclass(frozen=True, kw_only=True)
class System:
    """One release of an operating system; `release` is how its VERSION_ID begins."""

    id: str
    name: str
    ids: tuple[str, ...]
    release: str
    codename: str
    manager: Literal["apt", "dnf"]
    docker: tuple[str, ...]
    docker_distribution: tuple[str, ...]
    docker_conflicts: tuple[str, ...]
    toolkit: tuple[str, ...]

    def headers(self, kernel: str) -> tuple[str, ...]:
        """The packages with which kernel modules are compiled for a kernel (`uname -r`), and for those after it.

        dnf brings the headers of a newer kernel wherever those of another are there.
        """
        named = [name.format(kernel=kernel) for name in _family(self.id)["headers"]]
        return (*named, *_newest_headers(self.id, kernel))

    def repository(self, owner: Owner, architecture: str) -> Repository | None:
        """Whose repository for an architecture (`uname -m`); None where they have none for it."""
        return _repository(self, owner, architecture)

    def driver(self, branch: int, flavour: Flavour, version: str | None = None) -> Driver | None:
        """The packages of a driver branch, pinned to one version where it is given; None where the flavour has none."""
        return _driver(self, branch, flavour, version)


def all_systems() -> tuple[System, ...]:
    """Every system of the catalogue, in the order of the file."""
    return tuple(_system(key) for key in _document()["systems"])


def find(identity: str, version: str) -> System | None:
    """The system of an os-release `ID` and `VERSION_ID`: Rocky 9.4 is RHEL or Rocky 9; None where there is no row."""
    for system in all_systems():
        if identity in system.ids and (version == system.release or version.startswith(f"{system.release}.")):
            return system
    return None


@cache
def _system(key: str) -> System:
    row, family = _document()["systems"][key], _family(key)
    return System(
        id=key,
        name=row["name"],
        ids=tuple(row["ids"]),
        release=row["release"],
        codename=row["codename"],
        manager=family["manager"],
        docker=tuple(family["docker"]),
        docker_distribution=tuple(family["docker_distribution"]),
        docker_conflicts=tuple(family["docker_conflicts"]),
        toolkit=tuple(family["toolkit"]),
    )


def _repository(system: System, owner: Owner, architecture: str) -> Repository | None:
    row = _document()["systems"][system.id]
    kind = "deb" if system.manager == "apt" else "rpm"
    place, key, name = {
        "nvidia": ("nvidia", row["nvidia"]["key"], f"cuda-{row['nvidia']['directory']}"),
        "docker": (f"docker-{kind}", row["docker"]["key"], "docker"),
        "container_toolkit": (f"toolkit-{kind}", "toolkit", "nvidia-container-toolkit"),
    }[owner]
    where, signed = _document()["repositories"][place], _document()["keys"][key]
    if architecture not in where["architectures"]:
        return None
    words = {
        "arch": where["architectures"][architecture],
        "directory": row[owner]["directory"] if owner in row else "",
        "file": signed["file"],
    }
    return Repository(
        name=name,
        uri=where["uri"].format(**words),
        suite="" if system.manager == "dnf" else where.get("suite", system.codename),
        components=tuple(where.get("components", ())),
        key=where["key"].format(**words),
        fingerprint=signed.get("fingerprint"),
        signed=where.get("signed", "packages"),
        label=where.get("label", "") if system.manager == "apt" else "",
        first=tuple(where.get("first", ())) if system.manager == "apt" else (),
    )


def _driver(system: System, branch: int, flavour: Flavour, version: str | None) -> Driver | None:
    how = _document()["drivers"][_document()["systems"][system.id]["driver"]]
    row = next(row for row in how["rows"] if branch <= row.get("until", branch))
    packages = tuple(name.format(branch=branch) for name in row[flavour])
    if not packages:
        return None
    fabric = how["fabric_manager"]
    pinning, stream = how.get("pinning"), how.get("stream")
    return Driver(
        packages=packages,
        pinning=pinning.format(pinned=version or branch) if pinning else None,
        stream=f"nvidia-driver:{stream[flavour].format(branch=branch)}" if stream else None,
        fabric_manager=fabric["before" if branch <= fabric["until"] else "after"].format(branch=branch),
    )


def _newest_headers(key: str, kernel: str) -> list[str]:
    rows = _document()["newest_headers"].get(key, {"rows": []})["rows"]
    fitting = [package for pattern, package in rows if fnmatchcase(kernel, pattern)]
    return [package for package in fitting[:1] if package]


def _family(key: str) -> Mapping[str, Any]:
    document = _document()
    family: Mapping[str, Any] = document["families"][document["systems"][key]["family"]]
    return family


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = table(__name__, "systems.yaml")
    return document
