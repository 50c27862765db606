"""An engine that runs already, which a stack takes over as it is."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from berth.spec.values import Section, lacking, wrong


class Adopt(Section):
    """A running engine that the stack serves without touching it: what else is said here describes what runs."""

    container: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")] | None = None
    """The name of the container that it runs in."""
    process: bool = False
    """It runs in no container: it is the engine's process that listens on the place's port."""
    take: bool = False
    """Stop it at the next update and start Berth's own in its place: with labels, pinned, on loopback, in turn."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.container is None and not self.process:
            raise lacking("names nothing, must name the container, or say process: true")
        if self.container is not None and self.process:
            raise wrong("is true beside container, must be one of the two", "process")
        return self
