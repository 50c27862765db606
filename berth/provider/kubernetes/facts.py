"""Looks at a cluster before anything is planned for it: a few lists at once, of secrets no more than their names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from berth.facts.cluster import ClusterFacts, Node, Quota, Taint
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.kubernetes.api import Api, Refused
from berth.provider.kubernetes.connection import ClusterConnection

_STACK = "dev.berth/stack"
_MINE = "serving.kserve.io/inferenceservice"
_OF_LLM = {"app.kubernetes.io/part-of": "llminferenceservice"}
"""What KServe marks the pods of LLMInferenceServices with; app.kubernetes.io/name is then the service."""
_NAMES_ALONE = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FORBIDDEN = 403
_KINDS: Mapping[str, str] = {
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ServingRuntime": "/apis/serving.kserve.io/v1alpha1/namespaces/{}/servingruntimes",
    "InferenceService": "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices",
    "LLMInferenceService": "/apis/serving.kserve.io/v1alpha2/namespaces/{}/llminferenceservices",
    "LLMInferenceServiceConfig": "/apis/serving.kserve.io/v1alpha2/namespaces/{}/llminferenceserviceconfigs",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "Route": "/apis/route.openshift.io/v1/namespaces/{}/routes",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes",
    "PodMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/podmonitors",
    "PrometheusRule": "/apis/monitoring.coreos.com/v1/namespaces/{}/prometheusrules",
}
_OLDER: Mapping[str, str] = {
    kind: _KINDS[kind].replace("v1alpha2", "v1alpha1") for kind in ("LLMInferenceService", "LLMInferenceServiceConfig")
}
"""Where KServe 0.16 has them, which does not know the newer place."""
_GROUPS = (
    "serving.kserve.io/v1alpha1",
    "serving.kserve.io/v1alpha2",
    "serving.kserve.io/v1beta1",
    "networking.k8s.io/v1",
    "route.openshift.io/v1",
    "gateway.networking.k8s.io/v1",
    "monitoring.coreos.com/v1",
    "serving.knative.dev/v1",
    "leaderworkerset.x-k8s.io/v1",
)
_CONTROLLERS = ("kserve", "redhat-ods-applications", "opendatahub")
"""The namespaces in which KServe's controller and its configuration are found."""


async def gather_clusters(hosts: Mapping[str, tuple[Host, str]]) -> dict[str, Mapping[str, str]]:
    """The `facts` of clusters and their namespaces at once, by name; of one that gives none, why not as `problem`."""

    async def one(host: Host, namespace: str) -> Mapping[str, str]:
        try:
            connection = host.connection
            if not isinstance(connection, ClusterConnection):
                return {"problem": f"{host.name} is a host, must be a cluster"}
            return {"facts": (await cluster_facts(connection.api, namespace)).model_dump_json()}
        except ProviderError as error:
            return {"problem": str(error)}

    found = await asyncio.gather(*(one(host, namespace) for host, namespace in hosts.values()))
    return dict(zip(hosts, found, strict=True))


async def cluster_facts(api: Api, namespace: str) -> ClusterFacts:
    """What a cluster and one of its namespaces are.

    Raises:
        ProviderError: it does not answer, or its login is not accepted.
    """
    version = await api.get("/version")  # the first question alone, so that a dead cluster is asked once
    kinds, space, objects, runtimes, nodes, pods, quotas, controller = await asyncio.gather(
        _kinds(api),
        _or(api.get(f"/api/v1/namespaces/{namespace}"), {}),
        _objects(api, namespace),
        _or(api.items("/apis/serving.kserve.io/v1alpha1/clusterservingruntimes"), []),
        _or(api.items("/api/v1/nodes"), None),
        _or(api.items("/api/v1/pods", fieldSelector="status.phase!=Succeeded,status.phase!=Failed"), None),
        _or(api.items(f"/api/v1/namespaces/{namespace}/resourcequotas"), []),
        _controller(api),
    )
    known = nodes is not None and pods is not None
    return ClusterFacts(
        version=str((version or {}).get("gitVersion", "")),
        kserve=controller,
        kinds=frozenset(kinds),
        namespace=space is not None,
        objects=objects,
        cluster_runtimes=tuple(one["metadata"]["name"] for one in runtimes),
        nodes=tuple(_nodes(nodes, pods)) if known else None,
        ours=_ours(pods, namespace) if known else {},
        quotas=tuple(_quotas(quotas)),
    )


async def _or(asked: Any, otherwise: Any) -> Any:
    """An answer, or something else where the login may not have it."""
    try:
        return await asked
    except Refused as error:
        if error.status != _FORBIDDEN:
            raise
        return otherwise


async def _kinds(api: Api) -> list[str]:
    lists = await asyncio.gather(*(api.get(f"/apis/{group}") for group in _GROUPS))
    return [
        f"{group}/{one['kind']}"
        for group, found in zip(_GROUPS, lists, strict=True)
        for one in (found or {}).get("resources", ())
        if "/" not in one["name"]
    ]


async def _objects(api: Api, namespace: str) -> dict[str, dict[str, str]]:
    async def names(kind: str) -> dict[str, str]:
        found = await _or(api.items(_KINDS[kind].format(namespace), accept=_NAMES_ALONE), [])
        if not found and kind in _OLDER:
            found = await _or(api.items(_OLDER[kind].format(namespace), accept=_NAMES_ALONE), [])
        return {one["metadata"]["name"]: one["metadata"].get("labels", {}).get(_STACK, "") for one in found}

    found = await asyncio.gather(*(names(kind) for kind in _KINDS))
    return dict(zip(_KINDS, found, strict=True))


async def _controller(api: Api) -> str | None:
    """KServe's release, by the image of its controller."""
    path = "/apis/apps/v1/namespaces/{}/deployments/kserve-controller-manager"
    for found in await asyncio.gather(*(_or(api.get(path.format(name)), None) for name in _CONTROLLERS)):
        for container in found["spec"]["template"]["spec"]["containers"] if found is not None else ():
            tag = container["image"].rpartition(":")[2]
            if container["name"] == "manager" and tag.startswith("v") and tag[1:2].isdigit():
                return str(tag.removeprefix("v"))
    return None


def _nodes(nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> Iterator[Node]:
    for node in nodes:
        about, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))
        if not ready or spec.get("unschedulable"):
            continue
        free = {name: _whole(amount) for name, amount in status.get("allocatable", {}).items() if "/" in name}
        for pod in pods:
            if pod["spec"].get("nodeName") == about["name"]:
                for name, amount in _cards(pod).items():
                    free[name] = free.get(name, 0) - amount
        taints = tuple(Taint.model_validate(one) for one in spec.get("taints", ()))
        yield Node(name=about["name"], labels=about.get("labels", {}), taints=taints, free=free)


def _ours(pods: Sequence[Mapping[str, Any]], namespace: str) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = {}
    for pod in pods:
        about, node = pod["metadata"], pod["spec"].get("nodeName")
        labels = about.get("labels", {})
        service = labels.get("app.kubernetes.io/name" if _OF_LLM.items() <= labels.items() else _MINE)
        if about["namespace"] == namespace and node and service:
            mine = found.setdefault(node, {}).setdefault(service, {})
            for name, amount in _cards(pod).items():
                mine[name] = mine.get(name, 0) + amount
    return found


def _cards(pod: Mapping[str, Any]) -> dict[str, int]:
    """What a pod asks for of what device plugins offer, which is whole numbers of it."""
    found: dict[str, int] = {}
    for container in pod["spec"]["containers"]:
        for name, amount in container.get("resources", {}).get("requests", {}).items():
            if "/" in name:
                found[name] = found.get(name, 0) + _whole(amount)
    return found


def _quotas(quotas: Sequence[Mapping[str, Any]]) -> Iterator[Quota]:
    """Those of cards; CPU and memory are the API server's to judge."""
    for quota in quotas:
        status = quota.get("status", {})
        for resource, most in status.get("hard", {}).items():
            if resource.startswith("requests.") and "/" in resource:
                used = status.get("used", {}).get(resource, "0")
                yield Quota(name=quota["metadata"]["name"], resource=resource, most=_whole(most), used=_whole(used))


def _whole(amount: object) -> int:
    """A number as the API server writes it: it shortens thousands to 1k."""
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415 -- only stacks with clusters pay for it

    return int(parse_quantity(amount))  # type: ignore[no-untyped-call] # the client has no types
