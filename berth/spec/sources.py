"""Where weights and engines come from: repositories, folders, buckets, images, each pinned."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from berth.spec.values import Name, SecretName, Section, Text, lacking, wrong

_PIN = "a commit's 40 hexadecimal digits; a branch or tag can move. The model's page on the hub lists its commits"


def _repository(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", value) is None:
        raise wrong(f"is {value!r}, must be a repository of the hub such as Qwen/Qwen2.5-3B-Instruct")
    return value


def _commit(value: str) -> str:
    if re.fullmatch(r"[0-9a-f]{40}", value) is None:
        raise wrong(f"is {value!r}, must be pinned to {_PIN}; run `git ls-remote` on it and write the commit down")
    return value


def _s3(value: str) -> str:
    bucket = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?"
    folder = r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?"
    if re.fullmatch(rf"{bucket}|{folder}", value) is None:
        raise wrong(f"is {value!r}, must be s3://bucket/folder, or a folder in the data connection's bucket")
    return value


def _image(value: str) -> str:
    if (
        re.fullmatch(r"[a-z0-9][a-zA-Z0-9._/:-]*?(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64}){1,2}", value)
        is None
    ):
        raise wrong(f"is {value!r}, must be an image with its tag or digest, such as vllm/vllm-openai:v0.10.1.1")
    if value.endswith(":latest"):
        raise wrong(f"is {value!r}, must be pinned: latest moves under you; name the tag or the digest")
    return value


def _folder(value: str) -> str:
    if not value.startswith(("/", "~/")):
        raise wrong(f"is {value!r}, must be a folder on the host that starts with / or ~/")
    return value


def _claim(value: str) -> str:
    if re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(/[A-Za-z0-9._-]+)*/?", value) is None or ".." in value:
        raise wrong(f"is {value!r}, must be a volume claim's name and a folder in it, such as weights/granite-7b")
    return value


Image = Annotated[Text, AfterValidator(_image)]
"""A container image by tag or digest, never `latest`."""

Folder = Annotated[Text, AfterValidator(_folder)]
"""A folder on the host."""

KINDS = ("hub", "path", "random", "s3", "oci", "pvc")


class Source(Section):
    """Where a model's weights come from: one of hub, path, random, s3, oci and pvc."""

    hub: Annotated[Text, AfterValidator(_repository)] | None = None
    """A repository of the Hugging Face hub."""
    revision: Annotated[Text, AfterValidator(_commit)] | None = None
    """The hub repository's commit, all 40 digits."""
    token: SecretName | None = None
    """The secret with the hub's access token, for gated and private models."""
    endpoint: Text | None = None
    """Another address of the hub, such as a mirror."""
    path: Folder | None = None
    """A model folder that is on the host already."""
    random: Text | None = None
    """A tiny model of random weights that Berth writes itself; it answers nonsense and needs no download."""
    s3: Annotated[Text, AfterValidator(_s3)] | None = None
    """A folder in an S3 bucket: s3://bucket/folder, or with `connection` the folder alone; without, a public one."""
    connection: Name | None = None
    """The connection of its host for s3, or the cluster's data connection (a secret of the namespace)."""
    oci: Image | None = None
    """An OCI image that holds the model."""
    pvc: Annotated[Text, AfterValidator(_claim)] | None = None
    """A folder of a volume claim in the cluster's namespace: claim/folder."""
    shape: Text | None = None
    """A model of the catalogue that has the same shape, for weights that cannot be read while planning."""

    @model_validator(mode="before")
    @classmethod
    def _not_elsewhere(cls, value: Any) -> Any:
        if isinstance(value, dict) and "modelscope" in value:
            text = "is not supported, must be hub, path, random, s3, oci or pvc; most of its models are on the hub too"
            raise wrong(text, "modelscope")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        said = [kind for kind in KINDS if getattr(self, kind) is not None]
        if not said:
            raise lacking(f"names nothing, must name one of {', '.join(KINDS)}")
        if len(said) > 1:
            raise wrong(f"names {' and '.join(said)}, must name one of {', '.join(KINDS)}")
        if self.hub is not None and self.revision is None:
            raise lacking(f"is missing, must be {_PIN}", "revision")
        for key in ("revision", "token", "endpoint"):
            if self.hub is None and getattr(self, key) is not None:
                raise wrong(f"belongs to hub, must be left out with {said[0]}", key)
        if self.s3 is None and self.connection is not None:
            raise wrong(f"belongs to s3, must be left out with {said[0]}", "connection")
        if self.s3 is not None and self.connection is None and not self.s3.startswith("s3://"):
            raise wrong(f"is {self.s3!r}, must be s3://bucket/folder, or have a connection beside it", "s3")
        return self

    @property
    def kind(self) -> str:
        """Which of hub, path, random, s3, oci and pvc it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)
