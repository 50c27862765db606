"""A service on a cluster as few words say it: the objects that the API server would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berth.provider.kubernetes.seen import SPECIFICATION, Seen

WANTED = "0123456789ab"


def seen(said: Mapping[str, Any]) -> Seen:
    """What is seen of a service that is in the described state."""
    replicas = said.get("replicas", 1)
    deployment = {
        "metadata": {"name": "m-predictor", "generation": 2},
        "spec": {"replicas": replicas, "template": {"metadata": {"annotations": {SPECIFICATION: WANTED}}}},
        "status": {"observedGeneration": 2, **said.get("deployment", {})},
    }
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said.get("failure")}
    replica_set = {
        "metadata": {"name": "m-predictor-1"},
        "status": {"conditions": [failed] if "failure" in said else []},
    }
    return Seen(
        specification=WANTED,
        service={
            "metadata": {
                "name": "m",
                "annotations": {"serving.kserve.io/deploymentMode": said.get("mode", "Standard")},
            },
            "status": said.get("status", {}),
        },
        deployments=[] if said.get("unmade") else [deployment],
        replica_sets=[replica_set],
        pods=[_pod(number, pod) for number, pod in enumerate(said.get("pods", ()))],
        events=[_event(event) for event in said.get("events", ())],
    )


def _pod(number: int, said: Mapping[str, Any]) -> dict[str, Any]:
    placed = {"type": "PodScheduled", "status": "True"}
    if "unscheduled" in said:
        why = {"reason": "Unschedulable", "message": said["unscheduled"]}
        placed = {"type": "PodScheduled", "status": "False", **why}
    ready = {"type": "Ready", "status": "True" if said.get("ready") else "False"}
    return {
        "metadata": {
            "name": f"m-predictor-1-{number}",
            "annotations": {SPECIFICATION: "of before" if said.get("earlier") else WANTED},
        },
        "spec": {
            "containers": [{"name": "kserve-container", "resources": {"requests": said.get("asks", {})}}],
            "nodeSelector": said.get("selector", {}),
            **({} if "unscheduled" in said else {"nodeName": "node"}),
        },
        "status": {
            "conditions": [placed, ready],
            "initContainerStatuses": [_state(one) for one in said.get("init", ())],
            "containerStatuses": [_state(one) for one in said.get("containers", ())],
        },
    }


def _state(said: Mapping[str, Any]) -> dict[str, Any]:
    now = {key: said[key] for key in ("waiting", "terminated") if key in said}
    return {
        "name": said["name"],
        "image": said["image"],
        "ready": bool(said.get("ready")),
        "restartCount": said.get("restarts", 0),
        "state": now or {"running": {}},
        "lastState": {"terminated": said["last"]} if "last" in said else {},
    }


def _event(said: Mapping[str, Any]) -> dict[str, Any]:
    about = {"kind": said["kind"], "name": "m"}
    return {"type": "Warning", "reason": said["reason"], "message": said["message"], "involvedObject": about}
