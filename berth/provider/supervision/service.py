"""A service as a value, and its `run` script: the one file that says how it is started, written and read back."""

from __future__ import annotations

import importlib.resources
import json
import shlex
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from berth.provider.docker.container import Container

RUNNER = importlib.resources.files(__package__).joinpath("runner.sh").read_text()
"""The script that starts every service; it says itself what it does."""

_LATER = ("secrets", "container", "cpus", "memory")

_HEAD = "# Written by Berth; change the stack file instead: what is changed here shows as drift."


class Service(BaseModel):
    """One long-running service on a host.

    `folder` is its own folder there; `argv` what runs, with `environment` added to its supervisor's and
    `working_directory` as its folder. `locks` are files that it holds, one for each card, from its start until it is
    ready; `ready` is a command that ends with 0 once it is (empty: at once), `ready_limit_s` when it gives the locks up
    without. Times are in seconds. With `container` it runs in one, which keeps what it writes in place of `log`.
    `secrets` are variables whose values lie in files of these names below `folder/secrets`. `cpus` are the cores and
    `memory` the bytes that it may use at most (0: all there are) where systemd keeps it; a container has limits of its
    own. `about` is carried along for whoever reads the definition back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    folder: str
    argv: tuple[str, ...] = Field(min_length=1)
    environment: dict[str, str] = {}
    working_directory: str = "/"
    log: str
    restart: Literal["always", "on-failure", "never"] = "always"
    locks: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    ready_limit_s: int = 3600
    stop_signal: str = "TERM"
    stop_timeout_s: int = 30
    about: dict[str, object] = {}
    secrets: tuple[str, ...] = ()
    container: Container | None = None
    cpus: float = 0
    memory: int = 0

    @property
    def run_path(self) -> str:
        """The script that starts the service."""
        return f"{self.folder}/run"

    def render(self) -> str:
        """The `run` script: this definition as one line of JSON, then the same as shell for the runner."""
        exports = [f"export {key}={shlex.quote(value)}" for key, value in sorted(self.environment.items())]
        exports += [f'{key}=$(cat -- "$folder/secrets/{key}") && export {key} || exit 1' for key in self.secrets]
        # Left out where they say nothing, so that a definition from before there were any is still the same.
        plain = self.model_dump(mode="json", exclude={key for key in _LATER if not getattr(self, key)})
        return "\n".join(
            [
                "#!/bin/sh",
                _HEAD,
                f"# {json.dumps(plain, sort_keys=True)}",
                f"folder={shlex.quote(self.folder)}",
                *self._output(),
                f"locks={shlex.quote(' '.join(self.locks))}",
                f"ready={shlex.quote(shlex.join(self.ready))}",
                f"ready_limit={self.ready_limit_s}",
                f"stop_signal={shlex.quote(self.stop_signal)}",
                f"stop_timeout={self.stop_timeout_s}",
                *exports,
                f"cd -- {shlex.quote(self.working_directory)} || exit 1",
                f"set -- {shlex.join(self.argv)}",
                '. "$folder/runner.sh"',
                "",
            ]
        )

    def _output(self) -> list[str]:
        """Where what it writes goes."""
        if self.container is not None:
            return ["log=/dev/null", "exec 2>&1"]
        # Not through its supervisor: who adopts a process has no other end for the pipe of who died.
        return [f"log={shlex.quote(self.log)}", 'mkdir -p -- "${log%/*}" && exec >> "$log" 2>&1']

    @classmethod
    def parse(cls, text: str) -> Service | None:
        """The definition in a `run` script; None when the script is not exactly what that definition renders to."""
        lines = text.splitlines()
        if len(lines) < 3 or lines[1] != _HEAD:
            return None
        try:
            service = cls.model_validate_json(lines[2].removeprefix("# "))
        except ValidationError:
            return None
        return service if service.render() == text else None
