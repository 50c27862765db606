"""A container image on a host: there under its name, or pulled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pydantic import Field

from berth.provider.command import Command, leashed, shell
from berth.provider.docker.pull import Pull, cure
from berth.provider.errors import CommandFailed, ProviderError
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_LOOK = """
if ! command -v docker > /dev/null; then exit 4; fi
docker version --format '{{.Server.Version}}' > /dev/null || exit 5
docker image inspect --format '{{json .Id}} {{json .RepoDigests}}' "$1" 2> /dev/null || exit 4
"""

_PULL = """
if ! command -v docker > /dev/null; then echo "docker: not found" >&2; exit 127; fi
exec docker pull --quiet=false "$1"
"""

_MISSING = 4


class PullFailed(ProviderError):
    """An image is not on its host and cannot be pulled."""


class DockerImageWant(Want):
    """An image by tag (`vllm/vllm-openai:v0.11.0`) or digest (`NAME@sha256:…`).

    With the policy `missing` it is pulled when the host has none of that name, so that an image that was loaded there
    by hand is used; with `always` at every change of this resource as well. `state` is there to be observed.
    """

    image: str = Field(min_length=1, pattern=r"^[^\s-]\S*$")
    pull: Literal["missing", "always"] = "missing"
    state: Literal["there", "missing"] = "there"


class DockerImage(Operation[DockerImageWant]):
    """Declares an image. Deleting keeps it: it is costly to pull, and others on the host may use it."""

    kind = "berth:docker:Image"
    wants = DockerImageWant
    replace = frozenset({"host", "image"})

    def identity(self, want: DockerImageWant) -> str:
        """The image on its host."""
        return f"{want.host}:{want.image}"

    async def observe(self, host: Host, want: DockerImageWant) -> DockerImageWant | None:
        """Asks the host's Docker; asks no registry."""
        seen = await self._look(host, want)
        return None if seen is None else want.model_copy(update={"state": "there"})

    def steps(self, want: DockerImageWant | None, have: DockerImageWant | None) -> Sequence[Command]:
        """One pull, which brings the layers that are missing."""
        if want is None or (have is not None and want.pull == "missing"):
            return []
        pull = shell(_PULL, want.image, says=f"pulling {want.image}", timeout_s=float("inf"))
        return [replace(leashed(pull), docker=True)]

    async def converge(
        self, host: Host, want: DockerImageWant | None, known: DockerImageWant
    ) -> DockerImageWant | None:
        """Pulls where that is wanted although an image of the name is there."""
        if want is not None and want.pull == "always":
            await self.apply(host, want, await self.observe(host.quietly(), want))
        return await super().converge(host, want, known)

    async def apply(self, host: Host, want: DockerImageWant | None, have: DockerImageWant | None) -> None:
        """Shows how far the pull is, and says what to do when it fails."""
        for command in self.steps(want, have):
            pull = Pull()
            try:
                await host.run(command, on_line=partial(_show, host, pull))
            except CommandFailed as error:
                image = "" if want is None else want.image
                raise PullFailed(f"{host.name}: {image} cannot be pulled: {cure(error.output)}") from None

    def differing(self, want: DockerImageWant | None, have: DockerImageWant | None) -> list[str]:
        """What is not wanted any more is kept, which is no difference."""
        return [] if want is None else super().differing(want, have)

    async def outputs(self, host: Host, want: DockerImageWant) -> dict[str, Any]:
        """`content` is what containers are made of, `digest` the registry's name of it, if it has one."""
        seen = await self._look(host, want)
        return dict(zip(self.output_names(), seen or ("", ""), strict=True))

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("content", "digest")

    async def _look(self, host: Host, want: DockerImageWant) -> tuple[str, str] | None:
        look = shell(_LOOK, want.image, says=f"looking for {want.image}", ok=frozenset({0, _MISSING}))
        answer = await host.run(replace(look, docker=True))
        if answer.status == _MISSING:
            return None
        name, digests = (json.loads(part) for part in answer.stdout.strip().split(" ", 1))
        return name, next((digest.rsplit("@", 1)[1] for digest in digests or ()), "")


def _show(host: Host, pull: Pull, line: str) -> None:
    if said := pull.read(line):
        host.say(said)
