"""The InferenceService of a revision: its model and weights, what its pods ask for, how they are replaced."""

from __future__ import annotations

from collections.abc import Iterator

from berth.kubernetes.container import (
    FORMATS,
    arguments,
    environment,
    probes,
    resources,
    secret_environment,
    start_budget_s,
    volumes,
)
from berth.kubernetes.services import STANDARD_SINCE, Service
from berth.kubernetes.storage import account, model_source, predictor_sources
from berth.kubernetes.values import Object, metadata, over

ROUTE_TIMEOUT = "3600s"
"""OpenShift's router ends a silent answer after 30 s by itself; a long generation or a long queue takes more."""

_KNOWN_CARDS = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi")
"""The resources that KServe takes for GPUs without being told."""


def inference_service(service: Service) -> Object:
    """The service of one revision."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata(service.name, service.cluster.namespace, _labels(service), _annotations(service)),
        "spec": {"predictor": over(_predictor(service), service.pod.overlay)},
    }


def deployment_mode(service: Service) -> str:
    """The mode as this KServe calls it. Its webhook rewrites older names, which would be a change in every preview."""
    newer = service.version >= STANDARD_SINCE
    if service.standard:
        return "Standard" if newer else "RawDeployment"
    return "Knative" if newer else "Serverless"


def scheduling(service: Service) -> Object:
    """The fields of a pod that say where it may run."""
    if not service.pod.gpus:
        return {}
    found: Object = {"tolerations": list(_tolerations(service))}
    if service.pod.nodes:
        found["nodeSelector"] = dict(service.pod.nodes)
    if service.cluster.runtime_class is not None:
        found["runtimeClassName"] = service.cluster.runtime_class
    return found


def _labels(service: Service) -> dict[str, str]:
    """Who can reach it: OpenShift makes a Route of what is marked, KServe an Ingress of what is not."""
    if service.dashboard:
        seen = {"networking.kserve.io/visibility": "exposed"} if service.cluster.expose else {}
    else:
        seen = {} if service.cluster.expose else {"networking.kserve.io/visibility": "cluster-local"}
    return {**service.labels, **seen}


def _annotations(service: Service) -> dict[str, str]:
    found = {"serving.kserve.io/deploymentMode": deployment_mode(service)}
    if service.standard:
        # Without it KServe makes an autoscaler on CPU load, which says nothing of a GPU, and resets the replicas by it.
        found["serving.kserve.io/autoscalerClass"] = "none"
    if service.pod.parked:
        found["serving.kserve.io/stop"] = "true"
    if service.pod.gpus and service.pod.resource not in _KNOWN_CARDS:
        found["serving.kserve.io/gpu-resource-types"] = f'["{service.pod.resource}"]'
    if service.dashboard:
        found |= _dashboard(service)
    return found


def _dashboard(service: Service) -> Iterator[tuple[str, str]]:
    yield "openshift.io/display-name", service.name
    yield "opendatahub.io/model-type", "generative"
    if service.standard:
        yield "haproxy.router.openshift.io/timeout", ROUTE_TIMEOUT
    else:
        yield "serving.knative.openshift.io/enablePassthrough", "true"
        yield "sidecar.istio.io/inject", "true"
        yield "sidecar.istio.io/rewriteAppHTTPProbers", "true"


def _predictor(service: Service) -> Object:
    found: Object = {"minReplicas": service.count, "maxReplicas": service.count}
    if service.standard:
        found["deploymentStrategy"] = _strategy(service)
    else:
        # Knative gives up on a revision after ten minutes.
        found["annotations"] = {"serving.knative.dev/progress-deadline": f"{start_budget_s(service) + 1800:.0f}s"}
    named = account(service)
    if named is not None:
        found["serviceAccountName"] = named["metadata"]["name"]
    found["terminationGracePeriodSeconds"] = round(service.replica.stop_timeout_s)
    found |= scheduling(service)
    held = list(volumes(service))
    if held:
        found["volumes"] = [volume for volume, _ in held]
    return {**found, **predictor_sources(service), "model": _model(service, [mount for _, mount in held])}


def _model(service: Service, mounts: list[Object]) -> Object:
    found: Object = {
        "modelFormat": {"name": FORMATS[service.replica.engine.name]},
        "runtime": service.pod.runtime or service.name,
        **model_source(service),
        "args": arguments(service),
        "resources": resources(service),
        **probes(service),
    }
    # A runtime that was there already knows nothing of these.
    env = [*(environment(service) if service.pod.runtime is not None else []), *secret_environment(service)]
    if env:
        found["env"] = env
    if mounts:
        found["volumeMounts"] = mounts
    return {key: value for key, value in found.items() if value != []}


def _strategy(service: Service) -> Object:
    """How pods are replaced. KServe starts the new one first, which waits for ever where no card is left for it."""
    if service.replica.on_change != "hold" or not service.pod.gpus:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    if service.count > 1:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    return {"type": "Recreate"}


def _tolerations(service: Service) -> Iterator[Object]:
    for one in service.cluster.tolerations:
        found = {"key": one.key, "operator": one.operator, "value": one.value, "effect": one.effect}
        yield {key: value for key, value in found.items() if value is not None}
