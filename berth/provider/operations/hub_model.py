"""A model of the Hugging Face hub in a host's cache folder, complete as far as serving needs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from berth.provider.command import Command, shell
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.hub.program import program
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
    """The hub does not give the model, or the host cannot hold it; `kind` is a key of `hub.stop.STATUS`."""

    def __init__(self, *, host: str, what: str, kind: str, say: str) -> None:
        super().__init__(f"{host}: {what}: {say}")
        self.kind = kind


class HubModelWant(Want):
    """A model `repo` at `revision`: a commit, or a branch or tag that is followed once and then stays.

    `cache` is the cache folder, empty for where huggingface_hub keeps it on that host; `endpoint` the hub, empty for
    the host's HF_ENDPOINT or the public one; `token` a secret; `python` any Python from 3.10 on. `missing` names the
    files that are not there in full.
    """

    repo: str = Field(pattern=r"^(\w[\w.-]*/)?\w[\w.-]*$")
    revision: str = Field(min_length=1)
    cache: str = ""
    endpoint: str = ""
    token: str = ""
    python: str = "python3"
    missing: list[str] = []


class HubModel(Operation[HubModelWant]):
    """Declares a downloaded model. Deleting keeps the download: it is costly, and others on the host may use it."""

    kind = "berth:model:HubModel"
    wants = HubModelWant
    replace = frozenset({"host", "repo", "revision", "cache"})

    def identity(self, want: HubModelWant) -> str:
        """The model and its revision on its host."""
        return f"{want.host}:{want.repo}@{want.revision}"

    async def observe(self, host: Host, want: HubModelWant) -> HubModelWant | None:
        """Holds the files' sizes against the list that the download left; asks no hub."""
        seen = await self._look(host, want)
        if seen is None or seen["missing"] is None:
            return None
        return want.model_copy(update={"missing": seen["missing"]})

    def steps(self, want: HubModelWant | None, have: HubModelWant | None) -> Sequence[Command]:
        """One download brings what is missing, whatever it is."""
        del have
        if want is None:
            return []
        download = self._command(want, "download", *(["--endpoint", want.endpoint] if want.endpoint else []))
        return [
            shell(
                *(_RUN, *download),
                stdin=want.token.encode(),
                says=f"downloading {want.repo}",
                timeout_s=float("inf"),  # the program itself gives up when nothing more comes
                ok=frozenset({0, *STATUS.values()}),
            )
        ]

    async def apply(self, host: Host, want: HubModelWant | None, have: HubModelWant | None) -> None:
        """Shows how far the download is, and says in the program's own words why it failed."""
        for command in self.steps(want, have):
            result = await host.run(command, on_line=lambda line: _show(host, line))
            if want is not None and result.status != 0:
                failure = _last(result.stdout)
                what = f"{want.repo} at {want.revision}"
                raise DownloadFailed(host=host.name, what=what, kind=failure["error"], say=failure["say"])

    def differing(self, want: HubModelWant | None, have: HubModelWant | None) -> list[str]:
        """What is not wanted any more is kept, which is no difference."""
        return [] if want is None else super().differing(want, have)

    async def outputs(self, host: Host, want: HubModelWant) -> dict[str, Any]:
        """`path` is the folder that an engine is given, `commit` the revision as a commit."""
        seen = await self._look(host, want) or {}
        return {name: seen.get(name, "") for name in self.output_names()}

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("path", "commit")

    async def _look(self, host: Host, want: HubModelWant) -> dict[str, Any] | None:
        look = shell(
            *(_RUN, *self._command(want, "look")),
            says=f"looking for {want.repo}",
            ok=frozenset({0, _NO_PYTHON}),
        )
        result = await host.run(look)
        return _last(result.stdout) if result.status == 0 else None

    @staticmethod
    def _command(want: HubModelWant, verb: str, *more: str) -> Sequence[str]:
        options = ["--repo", want.repo, "--revision", want.revision, *(["--cache", want.cache] if want.cache else [])]
        return (want.python, *program(), verb, *options, *more)


def _show(host: Host, line: str) -> None:
    """Passes on what a status line says; anything else a Python may write shows when it fails."""
    if line.startswith("{"):
        said = json.loads(line)
        if "say" in said and "error" not in said:
            host.say(said["say"])


def _last(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found
