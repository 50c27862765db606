"""All objects of a stack on one cluster, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from berth.kubernetes.gateway import gateway
from berth.kubernetes.inference_service import inference_service
from berth.kubernetes.llm_inference_service import llm_inference_service, preset
from berth.kubernetes.monitoring import monitoring
from berth.kubernetes.runtime import serving_runtime
from berth.kubernetes.services import Service, labels, services
from berth.kubernetes.storage import account, connection, secrets
from berth.kubernetes.values import Object, metadata
from berth.planner.plan import ClusterPlan, Plan

ASSUMED: Final = "0.17"
"""The release of KServe where neither the stack file nor the cluster says one: that of which the tests run the
controller."""


def objects(plan: Plan, cluster: str, version: str | None = None) -> tuple[Object, ...]:
    """The objects of a cluster in the order in which they are applied.

    Secrets hold placeholders; `filled` puts values in.

    Args:
        plan: the stack's plan, without refusals.
        cluster: the cluster's name in the stack file.
        version: KServe's release as found on the cluster; left out, the stack file's, or the assumed one.
    """
    return tuple(_objects(plan, plan.clusters[cluster], version))


def kserve_version(said: ClusterPlan, found: str | None = None) -> tuple[int, int]:
    """The release of KServe that objects are made for, as major and minor number."""
    major, minor = (found or said.version or ASSUMED).removeprefix("v").split(".")[:2]
    return int(major), int(minor)


def _objects(plan: Plan, cluster: ClusterPlan, version: str | None) -> Iterator[Object]:
    there = tuple(services(plan, cluster.name, kserve_version(cluster, version)))
    if cluster.create_namespace:
        yield _namespace(plan, cluster)
    for name, said in cluster.connections.items():
        yield connection(cluster, name, said, labels(plan.stack))
    if any(service.pod.span > 1 for service in there):
        yield preset(there[0].version, cluster, labels(plan.stack))
    for service in there:
        yield from _service(service)
    yield from gateway(plan, cluster, there)
    yield from monitoring(plan, cluster, there)


def _service(service: Service) -> Iterator[Object]:
    yield from secrets(service)
    runtime, named = serving_runtime(service), account(service)
    if named is not None:
        yield named
    if runtime is not None:
        yield runtime
    yield llm_inference_service(service) if service.pod.service == "llm" else inference_service(service)


def _namespace(plan: Plan, cluster: ClusterPlan) -> Object:
    """The namespace; OpenShift AI shows those that are marked as its projects."""
    marks = {"opendatahub.io/dashboard": "true"} if cluster.kind == "openshift-ai" else {}
    about = metadata(cluster.namespace, None, {**labels(plan.stack), **marks})
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": about}
