"""The door of a stack and its monitoring: keys, limits, encryption, what watches."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from berth.catalogue.units import Bytes
from berth.spec.sources import Image
from berth.spec.values import Duration, Name, Port, SecretName, Section, ServedName, Size, Text, wrong


class Limits(Section):
    """How much one client may ask for; more is answered with 429."""

    requests_per_minute: Annotated[int, Field(ge=1, le=10**7)] | None = None
    """Requests in a minute, over all models."""
    tokens_per_minute: Annotated[int, Field(ge=1, le=10**10)] | None = None
    """Tokens in a minute, of prompt and answer."""
    concurrent: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Requests at a time to one model."""


class Key(Section):
    """A client of the gateway."""

    name: Name
    """The client's name, as logs and metrics show it."""
    secret: SecretName
    """The secret that holds the client's key."""
    models: tuple[ServedName, ...] = ()
    """The models the client may use; none means all."""
    limits: Limits | None = None
    """How much the client may ask for."""


class Tls(Section):
    """Encryption of what clients send: with a certificate of yours, or one that Berth signs itself for a start."""

    self_signed: bool = False
    """Make a certificate on the gateway's host that clients must be told to trust, and renew it in time."""
    certificate: Text | None = None
    """The file with the certificate chain on the gateway's host, in PEM; taken over when it is replaced."""
    key: Text | None = None
    """The file with its private key there, in PEM, readable for whoever runs the gateway."""
    names: tuple[ServedName, ...] = ()
    """The names and addresses that a self-signed certificate is for, beside the host's own."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.self_signed and (self.certificate or self.key):
            raise wrong("is true beside certificate or key, must be one of the two", "self_signed")
        if not self.self_signed and (self.certificate is None or self.key is None):
            raise wrong("is incomplete, must have certificate and key, or self_signed: true")
        if not self.self_signed and self.names:
            raise wrong("are given beside a certificate, which has its own; remove them", "names")
        return self


class Edge(Section):
    """How clients outside a cluster reach its gateway; there the connection is encrypted too."""

    kind: Literal["route", "ingress", "gateway-api"] | None = None
    """What stands in front: OpenShift's Route, an Ingress, or an HTTPRoute of the Gateway API; left out, a Route on
    openshift-ai and an Ingress elsewhere."""
    host: Annotated[Text, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")] | None = None
    """The name that clients use; left out, OpenShift gives one."""
    ingress_class: Text | None = None
    """The class of the Ingress; left out, the cluster's own."""
    tls_secret: Text | None = None
    """The namespace's secret with the certificate of an Ingress."""
    gateway: Annotated[Text, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")] | None = None
    """The Gateway that an HTTPRoute belongs to, as namespace/name; its listener encrypts."""


class Gateway(Section):
    """The stack's OpenAI-compatible door."""

    host: Name
    """The host it runs on, or the cluster."""
    edge: Edge | None = None
    """On a cluster, how clients outside reach it; left out, only those inside do."""
    port: Port = 8000
    """The port clients use."""
    bind: Text = "127.0.0.1"
    """The address it listens on; 0.0.0.0 opens it to the network."""
    url: Text | None = None
    """The address clients use where it is another than the host's, such as that of a provider's HTTPS proxy."""
    admin_port: Port | None = None
    """Envoy's admin port on loopback; left out, the port after `port`."""
    metrics_port: Port | None = None
    """The metrics' port; left out, the second after `port`."""
    open: bool = False
    """Ask no key of anyone."""
    keys: tuple[Key, ...] = ()
    """Clients with a key each; none means that one named `default` is generated."""
    tls: Tls | None = None
    """Encryption; without it only clients on the host itself are served, unless plain is said."""
    plain: bool = False
    """Serve other machines without encryption, on purpose: keys and prompts can then be read on the way."""
    limits: Limits | None = None
    """How much each client may ask for, where its key says nothing else."""
    image: Image | None = None
    """Envoy's image on a host with the runtime docker; left out, its own of the release that Berth is made for."""
    max_body: Size = Field(default_factory=lambda: Bytes(32 * 2**20), json_schema_extra={"default": "32 MiB"})
    """The largest request, images in base64 included."""
    idle_timeout: Duration = 300.0
    """How long a connection may stay silent."""
    hold_limit: Duration = 120.0
    """How long a request waits while its model's only replica is being replaced."""

    @model_validator(mode="after")
    def _keys(self) -> Self:
        names = [key.name for key in self.keys]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise wrong(f"names {', '.join(twice)} twice, must name each client once", "keys")
        if self.open and self.keys:
            raise wrong("is true while keys are given, must be false; or remove the keys", "open")
        if self.open and self.limits is not None:
            raise wrong("are given while open is true, but are for each client; give keys instead", "limits")
        if self.plain and self.tls is not None:
            raise wrong("is true beside tls, must be one of the two", "plain")
        return self


class GpuExporter(Section):
    """dcgm-exporter, which measures the GPUs."""

    port: Port = 9400
    """Its port, on loopback."""
    image: Text | None = None
    """Its image, by tag or digest; left out, the one that Berth was made for."""


class Prometheus(Section):
    """Prometheus, which keeps the measurements."""

    port: Port = 9090
    """Its port, on loopback."""
    image: Text | None = None
    """Its image, by tag or digest; left out, the one that Berth was made for."""
    retention: Duration = 15 * 86400.0
    """How long measurements are kept."""


class Grafana(Section):
    """Grafana, which shows them."""

    port: Port = 3000
    """Its port, on loopback."""
    image: Text | None = None
    """Its image, by tag or digest; left out, the one that Berth was made for."""


def _switch(value: Any) -> Any:
    """`true` is the part with its defaults, `false` is none of it."""
    return {True: {}, False: None}.get(value, value) if isinstance(value, bool) else value


class Monitoring(Section):
    """What watches the stack; its dashboards are made for the engines' versions."""

    gpu: Annotated[GpuExporter | None, BeforeValidator(_switch)] = None
    """Measure the GPUs."""
    prometheus: Annotated[Prometheus | None, BeforeValidator(_switch)] = None
    """Run Prometheus."""
    grafana: Annotated[Grafana | None, BeforeValidator(_switch)] = None
    """Run Grafana."""

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if self.grafana is not None and self.prometheus is None:
            raise wrong("is given without prometheus, which it shows; give prometheus too, or remove it", "grafana")
        return self
