"""A model of an S3 bucket in a folder of a host, complete as far as serving needs it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from berth.provider.download import Download, DownloadWant
from berth.provider.hub.program import program


class BucketModelWant(DownloadWant):
    """The folder `url` (`s3://BUCKET/FOLDER`) of the storage at `endpoint` in `folder` of the host.

    `access_key` is an access key's id and `secret_key` the key itself, both secrets; empty for a public bucket. What is
    there in full stays as it is, whatever becomes of the bucket.
    """

    url: str = Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?$")
    endpoint: str = Field(pattern=r"^https?://")
    region: str = Field(min_length=1)
    folder: str = Field(pattern=r"^[/~]")
    access_key: str = Field(default="", repr=False)
    secret_key: str = Field(default="", repr=False)


class BucketModel(Download[BucketModelWant]):
    """Declares a downloaded model of a bucket."""

    kind = "berth:model:BucketModel"
    wants = BucketModelWant
    replace = frozenset({"host", "url", "folder"})

    def identity(self, want: BucketModelWant) -> str:
        """Its folder on its host."""
        return f"{want.host}:{want.folder}"

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("path",)

    def title(self, want: BucketModelWant) -> tuple[str, str]:
        """See `Download.title`."""
        return want.url, f"{want.url} at {want.endpoint}"

    def credentials(self, want: BucketModelWant) -> bytes:
        """See `Download.credentials`."""
        return f"{want.access_key}\n{want.secret_key}\n".encode() if want.access_key or want.secret_key else b""

    def command(self, want: BucketModelWant, verb: str) -> Sequence[str]:
        """See `Download.command`."""
        where = ["--url", want.url, "--endpoint", want.endpoint, "--region", want.region, "--folder", want.folder]
        return (*program(of_bucket=True), verb, *where)
