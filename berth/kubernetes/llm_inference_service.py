"""The LLMInferenceService of a revision, KServe's newer form, where the stack file asks for it.

The container is written out whole, with command and probes, so that nothing of the cluster's presets decides what runs:
of those come volumes, a security context and two variables of no weight. KServe puts its own Services, and with
`expose` its routes, around it.
"""

from __future__ import annotations

from berth.kubernetes.container import (
    arguments,
    command,
    environment,
    fixed_arguments,
    image,
    probes,
    resources,
    secret_environment,
    volumes,
)
from berth.kubernetes.inference_service import scheduling
from berth.kubernetes.services import Service
from berth.kubernetes.storage import account, uri
from berth.kubernetes.values import Object, metadata, over

V1ALPHA2_SINCE = (0, 17)


def llm_inference_service(service: Service) -> Object:
    """The service of one revision."""
    newer = service.version >= V1ALPHA2_SINCE
    notes = {"serving.kserve.io/stop": "true"} if service.pod.parked else {}
    if service.dashboard:
        notes["openshift.io/display-name"] = service.name
    spec: Object = {
        "model": {"uri": uri(service.cluster, service.replica.weights), "name": service.names[0]},
        "replicas": service.count,
        "template": _template(service),
    }
    if newer:  # labels of the object itself do not reach its pods
        spec["labels"] = service.labels
    if service.cluster.expose:
        spec["router"] = {"gateway": {}, "route": {}}
    return {
        "apiVersion": f"serving.kserve.io/{'v1alpha2' if newer else 'v1alpha1'}",
        "kind": "LLMInferenceService",
        "metadata": metadata(service.name, service.cluster.namespace, service.labels, notes),
        "spec": over(spec, service.pod.overlay),
    }


def _template(service: Service) -> Object:
    held = list(volumes(service))
    container = {
        "name": "main",
        "image": image(service),
        "command": command(service),
        "args": [*fixed_arguments(service), *arguments(service)],
        "env": [*environment(service), *secret_environment(service)],
        "ports": [{"containerPort": service.port, "protocol": "TCP"}],
        "resources": resources(service),
        **probes(service),
    }
    found: Object = {"terminationGracePeriodSeconds": round(service.replica.stop_timeout_s), **scheduling(service)}
    named = account(service)
    if named is not None:
        found["serviceAccountName"] = named["metadata"]["name"]
    if held:
        found["volumes"] = [volume for volume, _ in held]
        container["volumeMounts"] = [mount for _, mount in held]
    return {**found, "containers": [container]}
