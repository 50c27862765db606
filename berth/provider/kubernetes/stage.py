"""What a service's start is doing, as one line for people."""

from __future__ import annotations

from berth.provider.kubernetes.seen import Object, Seen, conditions, containers


def stage(seen: Seen) -> str:
    """What the slowest of the wanted pods does; before there are any, what they wait for."""
    deployment, pods = seen.deployment, seen.wanted_pods
    if deployment is None:
        return "waiting for KServe to take the new specification"
    if not pods:
        return f"waiting for {seen.leaving} earlier pods to end" if seen.leaving else "waiting for its pods to be made"
    doing = min((_of(pod) for pod in pods), key=_ORDER.index)
    wanted = deployment["spec"].get("replicas", 1)
    ready = sum(conditions(pod).get("Ready", {}).get("status") == "True" for pod in pods)
    count = f", {ready} of {wanted} pods are ready" if wanted > 1 else ""
    left = f", {seen.leaving} earlier ones end" if seen.leaving else ""
    return f"{doing}{count}{left}"


_SCHEDULING, _PULLING, _DOWNLOADING, _STARTING = "waiting for a node", "pulling its image", "downloading", "starting"
_LOADING, _RUNNING = "loading the model", "running"
_ORDER = (_SCHEDULING, _PULLING, _DOWNLOADING, _STARTING, _LOADING, _RUNNING)


def _of(pod: Object) -> str:
    if conditions(pod).get("PodScheduled", {}).get("status") != "True" and "nodeName" not in pod["spec"]:
        return _SCHEDULING
    for state, before in containers(pod):
        if "terminated" in state.get("state", {}):
            continue
        if "running" in state.get("state", {}):
            if before:
                return _DOWNLOADING
            if not state.get("ready"):
                return _LOADING
            continue
        waiting = state.get("state", {}).get("waiting", {}).get("reason", "")
        return _STARTING if waiting == "PodInitializing" else _PULLING
    return _RUNNING
