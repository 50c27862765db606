"""A signed package repository: its entry, the key it is trusted by, and its index fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import Manager

_Word = Annotated[str, StringConstraints(pattern=r"^[^\s#\[\]]+$")]
_Path = Annotated[str, StringConstraints(pattern=r"^/\S+$")]


class PackageRepositoryWant(Want):
    """A repository. `name` is that of its files: NAME.sources and NAME.asc, or NAME.repo and RPM-GPG-KEY-NAME.

    `suites`, `components` and `architectures` (the repository's words: amd64) are apt's alone; the suite `/` is a flat
    repository and has no components. The key is given as text (`key`, armoured) or fetched by the host itself from
    `key_url`; either way it must have `fingerprint`, in full. Other keys beside it in the same text are not written.
    `signed` is what the publisher of a dnf repository signs. `obsolete` are files of earlier guides that are moved away
    (to NAME.save) since they declare the same repository in another way; any other such file is refused, by its name.
    """

    manager: Manager
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    uris: list[_Word] = Field(min_length=1)
    suites: list[_Word] = []
    components: list[_Word] = []
    architectures: list[_Word] = []
    key: str = ""
    key_url: str = Field(default="", pattern=r"^((https?|file)://\S+)?$")
    fingerprint: str = Field(pattern=r"^([0-9A-F]{40}|[0-9A-F]{64})$")
    signed: Literal["packages", "metadata", "both"] = "packages"
    obsolete: list[_Path] = []
    on_destroy: Literal["keep", "remove"] = "keep"

    @model_validator(mode="after")
    def _sayable(self) -> Self:
        if bool(self.key) == bool(self.key_url):
            raise ValueError("give the key as text (key) or its address (key_url), one of the two")
        if self.manager == "apt" and not self.suites:
            raise ValueError("suites is empty, must name the distribution's release, or be ['/'] for a flat repository")
        if self.manager == "dnf" and (self.suites or self.components or self.architectures):
            raise ValueError("suites, components and architectures are apt's; a dnf repository has its uris alone")
        if any(suite.endswith("/") for suite in self.suites) and self.components:
            raise ValueError("components are given with a flat repository (a suite that ends in /); it has none")
        return self


class PackageRepository(FactOperation[PackageRepositoryWant]):
    """Declares a package repository."""

    kind = "berth:host:PackageRepository"
    wants = PackageRepositoryWant
    replace = frozenset({"host", "name", "manager"})

    def identity(self, want: PackageRepositoryWant) -> str:
        """Its name on its host."""
        return f"{want.host}:repository:{want.name}"

    def seen(self, facts: HostFacts, want: PackageRepositoryWant) -> PackageRepositoryWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: PackageRepositoryWant | None, have: PackageRepositoryWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
