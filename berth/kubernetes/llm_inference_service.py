"""The LLMInferenceService of a revision, KServe's newer form, where the stack file asks for it.

The container is written out whole, with command and probes, so that nothing of the cluster's presets decides what runs:
of those come volumes, a security context and two variables of no weight. KServe puts its own Services, and with
`expose` its routes, around it.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from berth.kubernetes.storage import MODEL_FOLDER, account, uri
from berth.kubernetes.values import Object, metadata, over
from berth.planner.plan import ClusterPlan

V1ALPHA2_SINCE = (0, 17)

_RANKS = ("--node-rank=$(LWS_WORKER_INDEX)", "--master-addr=$(LWS_LEADER_ADDRESS)")
"""Which node a pod is and where the first one is, by variables that LeaderWorkerSet gives to each."""


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
    if service.pod.span > 1:
        spec["parallelism"] = {"tensor": service.pod.gpus, "pipeline": service.pod.span}
        spec["worker"] = _worker(service)
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


def preset(version: tuple[int, int], cluster: ClusterPlan, labels: Mapping[str, str]) -> Object:
    """The preset that KServe asks for where a pipeline runs over nodes, and does not have up to 0.20; it is empty."""
    return {
        "apiVersion": f"serving.kserve.io/{'v1alpha2' if version >= V1ALPHA2_SINCE else 'v1alpha1'}",
        "kind": "LLMInferenceServiceConfig",
        "metadata": metadata("kserve-config-llm-worker-pipeline-parallel", cluster.namespace, labels),
        "spec": {},
    }


def _worker(service: Service) -> Object:
    """The pods of a replica beside its first: they compute, and answer nobody."""
    found = _template(service)
    (main,) = found["containers"]
    silent = {"ports", "startupProbe", "readinessProbe", "livenessProbe"}
    kept = {key: value for key, value in main.items() if key not in silent}
    return {**found, "containers": [{**kept, "args": [*main["args"], "--headless"]}]}


def _start(service: Service) -> Object:
    if service.pod.span == 1:
        return {"command": command(service), "args": [*fixed_arguments(service), *arguments(service)]}
    # The program and not the module, which knows nothing of nodes that answer nobody; it takes the model by its place.
    fixed = [word for word in fixed_arguments(service) if not word.startswith("--model=")]
    over_nodes = [f"--nnodes={service.pod.span}", *_RANKS]
    return {"command": ["vllm", "serve", MODEL_FOLDER], "args": [*fixed, *arguments(service), *over_nodes]}


def _template(service: Service) -> Object:
    held = list(volumes(service))
    container = {
        "name": "main",
        "image": image(service),
        **_start(service),
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
