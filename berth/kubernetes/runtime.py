"""The ServingRuntime of a service: how its engine is run, without what is particular to the model."""

from __future__ import annotations

from berth.engines.registry import ENGINES
from berth.kubernetes.container import FORMATS, command, environment, fixed_arguments, image
from berth.kubernetes.services import Service
from berth.kubernetes.values import Object, metadata


def serving_runtime(service: Service) -> Object | None:
    """The runtime, named as its service; None where the service uses one that is there already."""
    if service.pod.runtime is not None or service.pod.service == "llm":
        return None
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": metadata(service.name, service.cluster.namespace, service.labels, _annotations(service)),
        "spec": {
            "annotations": _metrics(service),
            "multiModel": False,
            # Named by its service, never found by its format: it is for one model, and others of the namespace would
            # get its image too.
            "supportedModelFormats": [{"name": FORMATS[service.replica.engine.name], "autoSelect": False}],
            "containers": [
                {
                    "name": "kserve-container",
                    "image": image(service),
                    "command": command(service),
                    "args": fixed_arguments(service),
                    "env": environment(service),
                    "ports": [{"containerPort": service.port, "protocol": "TCP"}],
                }
            ],
        },
    }


def _annotations(service: Service) -> dict[str, str]:
    """What the dashboard of OpenShift AI shows."""
    if not service.dashboard:
        return {}
    shown = {"openshift.io/display-name": service.cluster.display_name or f"{service.name} (Berth)"}
    if service.pod.gpus:
        shown["opendatahub.io/recommended-accelerators"] = f'["{service.pod.resource}"]'
    return shown


def _metrics(service: Service) -> dict[str, str]:
    """Where Prometheus finds the engine's numbers; each platform reads annotations of its own."""
    prefix = "prometheus.io" if service.dashboard else "prometheus.kserve.io"
    return {f"{prefix}/path": ENGINES[service.replica.engine.name].metrics_path, f"{prefix}/port": str(service.port)}
