"""The gateway: its door, keys, routes and shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from berth.catalogue.units import Bytes


@dataclass(frozen=True, kw_only=True)
class KeyPlan:
    """A client of the gateway; `secret` names its key, None means that Berth generates one.

    `models` are the own names of those it may use, none means all. `concurrent` is how many requests it may have at a
    time to one model.
    """

    name: str
    secret: str | None = None
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    concurrent: int | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is kept from this client."""
        return not self.models and self.requests_per_minute is None and self.concurrent is None


@dataclass(frozen=True, kw_only=True)
class RevisionShare:
    """A revision of a model as the gateway sees it: its share of the traffic in whole percent, its replicas."""

    revision: str
    percent: int
    replicas: tuple[str, ...]
    max_concurrency: int
    max_model_len: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelRoute:
    """How the gateway reaches one served model; `aliases` are further names clients may use.

    `representative` is the revision whose settings stand for the model's. `path_prefix` (`/qwen/`) is another way to
    this model alone: what follows it is what the engine is asked.
    """

    name: str
    aliases: tuple[str, ...]
    revisions: tuple[RevisionShare, ...]
    max_model_len: int | None = None
    created: int = 0
    path_prefix: str | None = None
    representative: str = ""


@dataclass(frozen=True, kw_only=True)
class TlsPlan:
    """How the gateway encrypts: with a certificate of the user's, or one that Berth signs itself for `names`.

    `certificate` and `key` are files on the gateway's host, both None for a self-signed one.
    """

    names: tuple[str, ...]
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """What stands between clients outside a cluster and its gateway.

    `host` is the name that clients use (None where the cluster gives one), `gateway` an HTTPRoute's Gateway by its
    namespace and name.
    """

    kind: Literal["route", "ingress", "gateway-api"]
    host: str | None = None
    ingress_class: str | None = None
    tls_secret: str | None = None
    gateway: tuple[str, str] | None = None


ENVOY_IMAGE = "envoyproxy/envoy:v1.39.3@sha256:dd85940439de19a0b6ae8419610363ea0ad351d9a994ea007161c206ec1e1865"
"""Envoy's own image of the release that the gateway's configuration is made for. The digest is of the index for all
platforms, as two public repositories that have nothing to do with each other pin it for it; no registry was asked."""


@dataclass(frozen=True, kw_only=True)
class GatewayPlan:
    """The OpenAI-compatible door of the stack.

    `bind` is the address it listens on; `open` asks no one for a key; `image` is what it runs in on a Docker host or on
    a cluster, whose name is `host` then.
    """

    host: str
    bind: str
    port: int
    admin_port: int
    metrics_port: int
    open: bool
    keys: tuple[KeyPlan, ...]
    models: tuple[ModelRoute, ...]
    max_body: Bytes
    idle_timeout_s: float
    hold_limit_s: float
    url: str | None = None
    tls: TlsPlan | None = None
    image: str = ENVOY_IMAGE
    edge: EdgePlan | None = None
