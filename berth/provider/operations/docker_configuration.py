"""Docker's daemon.json: what is declared is merged into what is there, key by key, and the daemon takes it over."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from berth.provider.operation import Want


class DockerConfigurationWant(Want):
    """Keys of daemon.json, nested as there; keys that are not named are never touched. A list is wanted as a whole.

    `problem` and `in_effect` are there to be observed: why the file cannot be read, and whether the running daemon works
    by it. `text` is the file as it was read, which what is wanted is merged into; it is no part of the declaration.
    """

    path: str = "/etc/docker/daemon.json"
    unit: str = "docker.service"
    settings: dict[str, Any]
    problem: str = ""
    in_effect: bool = True
    on_destroy: Literal["keep", "remove"] = "keep"
    text: str | None = Field(default=None, exclude=True, repr=False)
