"""A model of the Hugging Face hub in a host's cache folder, complete as far as serving needs it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from berth.provider.download import Download, DownloadWant
from berth.provider.hub.program import program


class HubModelWant(DownloadWant):
    """A model `repo` at `revision`: a commit, or a branch or tag that is followed once and then stays.

    `cache` is the cache folder, empty for where huggingface_hub keeps it on that host; `endpoint` the hub, empty for
    the host's HF_ENDPOINT or the public one; `token` a secret.
    """

    repo: str = Field(pattern=r"^(\w[\w.-]*/)?\w[\w.-]*$")
    revision: str = Field(min_length=1)
    cache: str = ""
    endpoint: str = ""
    token: str = Field(default="", repr=False)


class HubModel(Download[HubModelWant]):
    """Declares a downloaded model of the hub; `commit` is its revision as a commit."""

    kind = "berth:model:HubModel"
    wants = HubModelWant
    replace = frozenset({"host", "repo", "revision", "cache"})

    def identity(self, want: HubModelWant) -> str:
        """The model and its revision on its host."""
        return f"{want.host}:{want.repo}@{want.revision}"

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("path", "commit")

    def title(self, want: HubModelWant) -> tuple[str, str]:
        """See `Download.title`."""
        return want.repo, f"{want.repo} at {want.revision}"

    def credentials(self, want: HubModelWant) -> bytes:
        """See `Download.credentials`."""
        return want.token.encode()

    def command(self, want: HubModelWant, verb: str) -> Sequence[str]:
        """See `Download.command`."""
        options = ["--repo", want.repo, "--revision", want.revision, *(["--cache", want.cache] if want.cache else [])]
        if verb == "download" and want.endpoint:
            options += ["--endpoint", want.endpoint]
        return (*program(), verb, *options)
