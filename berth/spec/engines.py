"""Which engine serves a model."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from berth.spec.sources import Folder, Image
from berth.spec.values import Section, wrong

EngineName = Literal["vllm", "sglang", "tgi"]


def _version(value: str) -> str:
    if re.fullmatch(r"v?\d+(\.\d+){1,3}(\.?(post|rc|dev)\d+)?", value) is None:
        raise wrong(f"is {value!r}, must be a version such as 0.10.1.1")
    return value.removeprefix("v")


class ExistingEnvironment(Section):
    """An engine that is installed on the host already."""

    path: Folder
    """The environment's folder, which holds bin/."""


class Engine(Section):
    """Which engine serves, in which version, and where it comes from."""

    name: EngineName
    """The engine."""
    version: Annotated[str, AfterValidator(_version)] | None = None
    """Its version, in quotes where YAML would read a number; left out, the newest that Berth knows."""
    device: Literal["cuda", "cpu"] | None = None
    """What it computes on; left out, cuda where the host has GPUs."""
    image: Image | None = None
    """The container image; left out, the engine's own image of that version."""
    environment: ExistingEnvironment | None = None
    """Use an environment that is on the host already instead of making one."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.image is not None and self.environment is not None:
            raise wrong("is given beside environment, must be one of the two", "image")
        return self
