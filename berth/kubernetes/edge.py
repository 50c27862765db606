"""What stands between a cluster's gateway and clients outside: a Route, an Ingress or an HTTPRoute.

Each has its own way to say that an answer may take long, and each has a limit where nothing is said.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from berth.kubernetes.services import labels
from berth.kubernetes.values import Object, metadata
from berth.planner.plan import ClusterPlan, EdgePlan, GatewayPlan, Plan

_SILENCE_S = 3600


def object_name(stack: str, part: str) -> str:
    """The name of an object of the whole stack."""
    return f"{re.sub('[^a-z0-9-]+', '-', stack.lower()).strip('-')}-{part}"


class About:
    """What the metadata of the gateway's objects have in common."""

    def __init__(self, plan: Plan, cluster: ClusterPlan) -> None:
        self._stack, self._namespace = plan.stack, cluster.namespace
        self._context = cluster.context
        self.name = object_name(plan.stack, "gateway")
        self.keys = object_name(plan.stack, "keys")
        self.selector = {"app.kubernetes.io/name": self.name}

    @property
    def labels(self) -> dict[str, str]:
        """What they are found by."""
        return {**labels(self._stack), **self.selector}

    def inside(self, door: GatewayPlan) -> str:
        """Where clients inside the cluster reach the gateway."""
        return f"http://{self.name}.{self._namespace}.svc:{door.port}/v1"

    def forwarding(self, door: GatewayPlan) -> str:
        """The line by which a person reaches it from elsewhere, on a port of their own machine."""
        context = f" --context {shlex.quote(self._context)}" if self._context is not None else ""
        ports = f"{door.port}:{door.port}"
        return f"kubectl{context} port-forward --namespace {self._namespace} service/{self.name} {ports}"

    def metadata(self, annotations: dict[str, str] | None = None, name: str = "") -> Object:
        """The metadata of any of them; their kinds tell them apart, and of two Secrets the name."""
        return metadata(name or self.name, self._namespace, self.labels, annotations)


def address(door: GatewayPlan, given: str | None = None) -> str:
    """Where clients outside the cluster reach the gateway, empty where they do not; `given` is a Route's own host."""
    if door.url is not None:
        return door.url.rstrip("/").removesuffix("/v1") + "/v1"
    host = (door.edge.host or given) if door.edge is not None else None
    if door.edge is None or not host:
        return ""
    plain = door.edge.kind == "ingress" and door.edge.tls_secret is None
    return f"{'http' if plain else 'https'}://{host}/v1"


def edge(about: About, door: GatewayPlan) -> Iterator[Object]:
    """The object in front of the gateway; none where only clients inside the cluster use it."""
    if door.edge is None:
        return
    match door.edge.kind:
        case "route":
            yield _route(about, door.edge)
        case "ingress":
            yield _ingress(about, door, door.edge)
        case "gateway-api":
            yield _http_route(about, door, door.edge)


def _route(about: About, edge: EdgePlan) -> Object:
    host = {"host": edge.host} if edge.host is not None else {}
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        # The router's own limit is 30 s of silence, which ends a long answer.
        "metadata": about.metadata({"haproxy.router.openshift.io/timeout": f"{_SILENCE_S}s"}),
        "spec": {
            **host,
            "to": {"kind": "Service", "name": about.name, "weight": 100},
            "port": {"targetPort": "http"},
            "tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "None"},
        },
    }


def _ingress(about: About, door: GatewayPlan, edge: EdgePlan) -> Object:
    prefix = "nginx.ingress.kubernetes.io"
    notes = {
        f"{prefix}/proxy-read-timeout": str(_SILENCE_S),
        f"{prefix}/proxy-send-timeout": str(_SILENCE_S),
        f"{prefix}/proxy-buffering": "off",
        f"{prefix}/proxy-body-size": f"{-(-int(door.max_body) // 2**20)}m",
    }
    backend = {"service": {"name": about.name, "port": {"name": "http"}}}
    spec: Object = {
        "rules": [{"host": edge.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
    }
    if edge.ingress_class is not None:
        spec = {"ingressClassName": edge.ingress_class, **spec}
    if edge.tls_secret is not None:
        spec["tls"] = [{"hosts": [edge.host], "secretName": edge.tls_secret}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": about.metadata(notes),
        "spec": spec,
    }


def _http_route(about: About, door: GatewayPlan, edge: EdgePlan) -> Object:
    space, name = edge.gateway or ("", "")
    hosts = {"hostnames": [edge.host]} if edge.host is not None else {}
    rule = {
        "backendRefs": [{"name": about.name, "port": door.port}],
        "timeouts": {"request": "0s", "backendRequest": "0s"},  # some controllers end a request after 15 s
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": about.metadata(),
        "spec": {"parentRefs": [{"name": name, "namespace": space}], **hosts, "rules": [rule]},
    }
