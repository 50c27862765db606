"""A model that a host has downloaded from somewhere, complete as far as serving needs it."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from berth.provider.command import Command, shell
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.hub.stop import STATUS
from berth.provider.operation import Operation, Want

_RUN = """
python=$1
shift
command -v -- "$python" > /dev/null || python=python3
exec "$python" "$@"
"""
"""The program needs nothing of the environment, so another Python does when that one is missing or half gone."""

_NO_PYTHON = 127


class DownloadFailed(ProviderError):
    """The model is not given, or the host cannot hold it; `kind` is a key of `hub.stop.STATUS`."""

    def __init__(self, *, host: str, what: str, kind: str, say: str) -> None:
        super().__init__(f"{host}: {what}: {say}")
        self.kind = kind


class DownloadWant(Want):
    """A download: `python` is any Python from 3.10 on, `missing` names the files that are not there in full."""

    python: str = "python3"
    missing: list[str] = []


W = TypeVar("W", bound=DownloadWant)


class Download(Operation[W]):
    """Declares a downloaded model. Deleting keeps the download: it is costly, and others on the host may use it."""

    @abstractmethod
    def command(self, want: W, verb: str) -> Sequence[str]:
        """The program with the verb `look` or `download`, without its Python."""

    @abstractmethod
    def title(self, want: W) -> tuple[str, str]:
        """What a person calls it: in short, and in full."""

    @abstractmethod
    def credentials(self, want: W) -> bytes:
        """What the download reads from its standard input."""

    async def observe(self, host: Host, want: W) -> W | None:
        """Holds the files' sizes against the list that the download left; asks nobody else."""
        seen = await self._look(host, want)
        if seen is None or seen["missing"] is None:
            return None
        return want.model_copy(update={"missing": seen["missing"]})

    def steps(self, want: W | None, have: W | None) -> Sequence[Command]:
        """One download brings what is missing, whatever it is."""
        del have
        if want is None:
            return []
        return [
            shell(
                *(_RUN, want.python, *self.command(want, "download")),
                stdin=self.credentials(want),
                says=f"downloading {self.title(want)[0]}",
                timeout_s=float("inf"),  # the program itself gives up when nothing more comes
                ok=frozenset({0, *STATUS.values()}),
            )
        ]

    async def apply(self, host: Host, want: W | None, have: W | None) -> None:
        """Shows how far the download is, and says in the program's own words why it failed."""
        for command in self.steps(want, have):
            result = await host.run(command, on_line=lambda line: _show(host, line))
            if want is not None and result.status != 0:
                failure = _last(result.stdout)
                what = self.title(want)[1]
                raise DownloadFailed(host=host.name, what=what, kind=failure["error"], say=failure["say"])

    def differing(self, want: W | None, have: W | None) -> list[str]:
        """What is not wanted any more is kept, which is no difference."""
        return [] if want is None else super().differing(want, have)

    async def outputs(self, host: Host, want: W) -> dict[str, Any]:
        """`path` is the folder that an engine is given."""
        seen = await self._look(host, want) or {}
        return {name: seen.get(name, "") for name in self.output_names()}

    async def _look(self, host: Host, want: W) -> dict[str, Any] | None:
        look = shell(
            *(_RUN, want.python, *self.command(want, "look")),
            says=f"looking for {self.title(want)[0]}",
            ok=frozenset({0, _NO_PYTHON}),
        )
        result = await host.run(look)
        return _last(result.stdout) if result.status == 0 else None


def _show(host: Host, line: str) -> None:
    """Passes on what a status line says; anything else a Python may write shows when it fails."""
    if line.startswith("{"):
        said = json.loads(line)
        if "say" in said and "error" not in said:
            host.say(said["say"])


def _last(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found
