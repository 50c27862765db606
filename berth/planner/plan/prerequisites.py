"""What a host must have before anything runs there, as values: part of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Owner = Literal["nvidia", "docker", "container_toolkit"]

Manager = Literal["apt", "dnf"]


@dataclass(frozen=True, kw_only=True)
class RepositoryPlan:
    """A package repository. Its key is a file of the project (`key_file`) or fetched by the host (`key_url`).

    `suite`, `components` and `architecture` are apt's, `signed` is what dnf must hold against the key; `obsolete` are
    files of older guides that declare the same. Of the repository of that `label` only the packages named in `first`
    come before the distribution's of the same names.
    """

    owner: Owner
    name: str
    uri: str
    fingerprint: str
    key_url: str | None = None
    key_file: str | None = None
    suite: str = ""
    components: tuple[str, ...] = ()
    architecture: str = ""
    signed: Literal["packages", "metadata", "both"] = "packages"
    obsolete: tuple[str, ...] = ()
    label: str = ""
    first: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PackagesPlan:
    """Packages that belong together; each with its version, a branch of versions, `any` or `absent`."""

    name: str
    packages: Mapping[str, str]
    hold: bool | None = None


@dataclass(frozen=True, kw_only=True)
class DriverPlan:
    """The NVIDIA driver. `power` is in watts by the card's index; `fabric_manager` names packages where it is needed.

    `wanted` is what the loaded driver must be: the branch, or the exact version.
    """

    branch: int
    version: str | None
    flavour: Literal["open", "proprietary"]
    packages: tuple[str, ...]
    pinning: str | None
    stream: str | None
    headers: tuple[str, ...]
    kernel: str
    initramfs: Literal["update-initramfs", "dracut"]
    reboot: bool = False
    persistence: bool = True
    power: Mapping[int, float] = field(default_factory=dict)
    fabric_manager: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """What the loaded driver must be: a branch such as 580, or a version."""
        return self.version or str(self.branch)


@dataclass(frozen=True, kw_only=True)
class DockerPlan:
    """The Docker engine: its packages."""

    packages: PackagesPlan


@dataclass(frozen=True, kw_only=True)
class ToolkitPlan:
    """The NVIDIA container toolkit: its packages, and how the CDI specification is kept."""

    packages: PackagesPlan
    refreshed_by: Literal["unit", "nobody"]
    disabled_hooks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PrerequisitesPlan:
    """What is installed and set on one host.

    `daemon` are keys of Docker's daemon.json, `daemon_defaults` those that are added where the host has none, `users`
    groups by account.
    """

    manager: Manager
    repositories: tuple[RepositoryPlan, ...] = ()
    driver: DriverPlan | None = None
    docker: DockerPlan | None = None
    toolkit: ToolkitPlan | None = None
    daemon: Mapping[str, Any] = field(default_factory=dict)
    daemon_defaults: Mapping[str, Any] = field(default_factory=dict)
    sysctl: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    on_destroy: Literal["keep", "remove"] = "keep"

    @property
    def holds(self) -> bool:
        """Whether there are packages that unattended upgrades must leave alone."""
        return self.manager == "apt" and bool(self.driver or self.docker or self.toolkit)
