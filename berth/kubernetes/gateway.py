"""The gateway on a cluster: the same Envoy configuration, in volumes that change as a whole, and what stands before it.

The engines of a revision are found by a Service of their own without an address, whose name resolves to its ready pods:
so that Envoy itself chooses the engine with the fewest requests, and divides the traffic among revisions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from berth import gateway as envoy
from berth.gateway.names import CONFIGURATION_HEADER, METRICS_NAME, SERVED_LISTENERS_FILE
from berth.gateway.routes import placeholder as key_placeholder
from berth.gateway.xds import Json, digest, file_source, response
from berth.kubernetes.edge import About, edge
from berth.kubernetes.services import Service
from berth.kubernetes.values import Object, generated, metadata, placeholder
from berth.planner.plan import ClusterPlan, GatewayPlan, KeyPlan, Plan

FOLDER: Final = "/etc/berth"
"""Where the configuration is mounted; ConfigMap and Secret in one volume, which is exchanged as a whole."""

ROUTES: Final = "routes.json"
"""The one file with keys in it, hence of the Secret."""

_WORK = "/run/berth"
_ENVOY_USER = 101  # of Envoy's image, which would start as root and change to it; OpenShift gives a user itself
_TAKE_OUT_S = 5  # until no proxy of the cluster sends new connections to a pod that is to end


def gateway(plan: Plan, cluster: ClusterPlan, services: Sequence[Service]) -> Iterator[Object]:
    """The objects of the gateway where it is on this cluster, in their order."""
    door = plan.gateway
    if door is None or door.host != cluster.name:
        return
    for service in services:
        yield _engines(service)
    about = About(plan, cluster)
    files = configuration(door, services)
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about.metadata(), "data": files}
    yield _secret(about.metadata(), {ROUTES: _routes(door, services)})
    if keys := {key.name: _value(key) for key in door.keys}:
        yield _secret(about.metadata(name=about.keys), keys)  # for pods of the cluster that are clients
    yield _deployment(about, door, cluster, files)
    yield _service(about, door)
    yield from edge(about, door)


def _secret(about: Object, held: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": "Opaque", "stringData": held}


def configuration(door: GatewayPlan, services: Sequence[Service]) -> dict[str, str]:
    """The files of the gateway without its routes."""
    bootstrap = envoy.bootstrap(door, FOLDER)
    # Emptied when it is to end, so that it lies where the pod may write.
    bootstrap["dynamic_resources"]["lds_config"] = file_source(_WORK, SERVED_LISTENERS_FILE)
    named = {
        envoy.cluster_name(one.replica.model, one.replica.revision): (engines_address(one), one.port)
        for one in services
    }
    found = {
        "bootstrap.json": bootstrap,
        "listeners.json": _reachable(envoy.listeners(door, FOLDER)),
        "clusters.json": _by_name(envoy.clusters(door, FOLDER), named),
        "status.json": envoy.status(door),
    }
    return {**{name: json.dumps(content, indent=1) for name, content in found.items()}, "start.sh": envoy.START}


def engines_address(service: Service) -> str:
    """The name that resolves to the ready pods of a revision."""
    return f"{service.name}-engines.{service.cluster.namespace}.svc"


def _engines(service: Service) -> Object:
    """A Service without an address of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(f"{service.name}-engines", service.cluster.namespace, service.labels),
        "spec": {
            "clusterIP": "None",
            "selector": service.pod_labels,
            "ports": [{"name": "http", "port": service.port, "targetPort": service.port, "protocol": "TCP"}],
        },
    }


def configuration_digest(door: GatewayPlan, services: Sequence[Service]) -> str:
    """What a gateway says in `CONFIGURATION_HEADER` once it has this configuration."""
    return digest([envoy.routes(door), configuration(door, services)])


def _routes(door: GatewayPlan, services: Sequence[Service]) -> str:
    """The routes; keys stand in them by the names of their secrets, generated ones by those of their clients.

    Each answer says which configuration it came by: a volume follows its ConfigMap a minute late or two.
    """
    (table,) = envoy.routes(door)["resources"]
    said = {"key": CONFIGURATION_HEADER, "value": configuration_digest(door, services)}
    header = {"header": said, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    text = json.dumps(response([{**table, "response_headers_to_add": [header]}]), indent=1)
    for key in door.keys:
        text = text.replace(key_placeholder(key.name), _value(key))
    return text


def _value(key: KeyPlan) -> str:
    return placeholder(key.secret) if key.secret is not None else generated(key.name)


def _reachable(listeners: Json) -> Json:
    """The numbers are asked from outside the pod, by Prometheus and by the probes."""
    for listener in listeners["resources"]:
        if listener["name"] == METRICS_NAME:
            listener["address"]["socket_address"]["address"] = "0.0.0.0"  # noqa: S104 - a pod's own address
    return response(listeners["resources"])


def _by_name(clusters: Json, named: dict[str, tuple[str, int]]) -> Json:
    """Engines found by name instead of by a file that somebody would have to write.

    Behind them stands nobody at all, so that requests wait for an engine while its pod is replaced, as they do on other
    runtimes; the limit is the same hold_limit.
    """
    found = []
    for cluster in clusters["resources"]:
        engines = cluster.pop("eds_cluster_config")["service_name"]
        known = envoy.endpoints(engines, [named[engines]], held=True)["resources"][0]
        known.pop("@type")
        known["cluster_name"] = cluster["name"]
        found.append(
            {
                **cluster,
                "type": "STRICT_DNS",
                "load_assignment": known,
                # Pods come and go within the 5 s for which the cluster's DNS answers are good.
                "dns_refresh_rate": "2s",
                "respect_dns_ttl": False,
                "dns_lookup_family": "V4_PREFERRED",
            }
        )
    return response(found)


def _deployment(about: About, door: GatewayPlan, cluster: ClusterPlan, files: dict[str, str]) -> Object:
    # What Envoy reads at its start only; the rest it takes over by itself when the volume changes.
    fixed = digest([files[name] for name in ("bootstrap.json", "listeners.json", "start.sh")])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about.metadata(),
        "spec": {
            # One: limits of clients are counted in each Envoy by itself.
            "replicas": 1,
            "selector": {"matchLabels": about.selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": about.labels, "annotations": {"dev.berth/fixed": fixed}},
                "spec": _pod(about, door, cluster),
            },
        },
    }


def _pod(about: About, door: GatewayPlan, cluster: ClusterPlan) -> Object:
    user = {} if cluster.kind == "openshift-ai" else {"runAsUser": _ENVOY_USER, "fsGroup": _ENVOY_USER}
    sources = [{"configMap": {"name": about.name}}, {"secret": {"name": about.name}}]
    volumes: list[Any] = [
        {"name": "configuration", "projected": {"sources": sources}},
        {"name": "work", "emptyDir": {}},
    ]
    return {
        "terminationGracePeriodSeconds": envoy.DRAIN_S + 15 + _TAKE_OUT_S,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **user},
        "containers": [_container(door)],
        "volumes": volumes,
    }


def _container(door: GatewayPlan) -> Object:
    started = envoy.command("envoy", _WORK, door.admin_port)
    words = [word.replace(f"{_WORK}/start.sh", f"{FOLDER}/start.sh") for word in started]
    words = [word.replace(f"{_WORK}/bootstrap.json", f"{FOLDER}/bootstrap.json") for word in words]
    copied = f'cp {FOLDER}/listeners.json {_WORK}/listeners.json && exec "$@"'
    ready = {"httpGet": {"path": "/ready", "port": "metrics"}, "timeoutSeconds": 5}
    return {
        "name": "envoy",
        "image": door.image,
        "command": ["bash", "-c", copied, "berth", *words],
        "ports": [
            {"name": "http", "containerPort": door.port, "protocol": "TCP"},
            {"name": "metrics", "containerPort": door.metrics_port, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": "250m", "memory": "256Mi"},
            # Envoy's own bound on its heap is 1 GiB and 64 bodies of the largest size.
            "limits": {"memory": f"{1536 + 64 * -(-int(door.max_body) // 2**20)}Mi"},
        },
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**ready, "periodSeconds": 20, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_TAKE_OUT_S)]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "configuration", "mountPath": FOLDER, "readOnly": True},
            {"name": "work", "mountPath": _WORK},
        ],
    }


def _service(about: About, door: GatewayPlan) -> Object:
    ports = [("http", door.port), ("metrics", door.metrics_port)]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": about.metadata(),
        "spec": {
            "type": "ClusterIP",
            "selector": about.selector,
            "ports": [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports],
        },
    }
