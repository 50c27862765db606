"""Where the weights of a model come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HubWeights:
    """A model on the Hugging Face hub at a pinned commit; `token` names a secret."""

    repo: str
    revision: str
    token: str | None = None
    endpoint: str = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class PathWeights:
    """A model folder that already lies on the host."""

    path: str


@dataclass(frozen=True, kw_only=True)
class RandomWeights:
    """A tiny model of random weights that Berth writes itself; `shape` names an entry of the catalogue."""

    shape: str


@dataclass(frozen=True, kw_only=True)
class S3Weights:
    """A model folder in an S3 bucket; `connection` names one of its host's or its cluster's."""

    url: str
    connection: str | None = None


@dataclass(frozen=True, kw_only=True)
class OciWeights:
    """A model in an OCI image. Clusters only, so far."""

    image: str


@dataclass(frozen=True, kw_only=True)
class PvcWeights:
    """A model folder of a volume claim in a cluster's namespace."""

    claim: str
    path: str = ""


Weights = HubWeights | PathWeights | RandomWeights | S3Weights | OciWeights | PvcWeights
