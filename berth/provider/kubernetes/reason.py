"""Why a service on a cluster does not come up, from the objects alone: pure, one function for each cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from berth.provider.kubernetes.seen import Object, Seen, conditions, containers


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """Why nothing goes on. `patience_s`: how long the same must be seen before it counts, since some of it passes."""

    why: str
    patience_s: float = 0


def reason(seen: Seen) -> Stuck | None:
    """What keeps the wanted pods from serving; None where waiting may be enough."""
    for cause in _CAUSES:
        if (stuck := cause(seen)) is not None:
            return stuck
    return None


def _service(seen: Seen) -> Stuck | None:
    """What KServe itself says of the service."""
    if seen.service is None:
        return None
    status = seen.service.get("status", {})
    failure = status.get("modelStatus", {}).get("lastFailureInfo", {})
    kind, message = failure.get("reason", ""), failure.get("message", "")
    if kind in _MODEL_FAILURES:
        return Stuck(why=f"{_MODEL_FAILURES[kind]} ({message or kind})", patience_s=5)
    for event in _warnings(seen, "InferenceService"):
        if event.get("reason") == "ServerlessModeRejected" and not seen.deployments:
            why = "the cluster has no Knative Serving, which mode: knative needs; install it, or leave mode out"
            return Stuck(why=why, patience_s=5)
        if event.get("reason") in {"InternalError", "UpdateFailed"} and not seen.deployments:
            return Stuck(why=f"KServe cannot make it: {_short(event)}", patience_s=10)
    for event in _warnings(seen, "LLMInferenceService"):
        if event.get("reason") == "Error" and not seen.deployments:
            return Stuck(why=f"KServe cannot make it: {_short(event)}", patience_s=10)
    return None


_MODEL_FAILURES = {
    "RuntimeNotRecognized": "its runtime is not there; give `place.runtime` the resource name of one, or leave it out",
    "NoSupportingRuntime": "no runtime serves its model format; leave `place.runtime` out, and Berth makes one",
    "RuntimeDisabled": "its runtime is disabled; enable it, or leave `place.runtime` out",
    "InvalidPredictorSpec": "KServe refuses the specification",
}
"""What KServe says in `modelStatus.lastFailureInfo`; failures of the model itself are seen at its pods, and better."""


def _creation(seen: Seen) -> Stuck | None:
    """Pods that are not even made: quota, admission, a missing account."""
    for one in (*seen.replica_sets, *seen.deployments):
        failure = conditions(one).get("ReplicaFailure", {})
        if failure.get("status") != "True":
            continue
        message = failure.get("message", "")
        return Stuck(why=_why_not_made(message), patience_s=5)
    return None


def _why_not_made(message: str) -> str:
    quota = re.search(r"exceeded quota: ([\w.-]+), requested: ([^\s]+), used: ([^\s]+), limited: ([^\s]+)", message)
    if quota is not None:
        name, asked, used, most = quota.groups()
        return f"quota {name} of the namespace is used up: asked {asked}, used {used} of {most}; raise it, or free some"
    storage = re.search(r"can't (?:find|read) storage secret ([\w.-]+)|secrets? \"([\w.-]+)\" not found", message)
    if storage is not None:
        name = storage[1] or storage[2]
        return f"the secret {name} with the storage's credentials is not in the namespace; make it, or declare it"
    account = re.search(r'serviceaccount "([\w.-]+)" not found', message)
    if account is not None:
        return f"the service account {account[1]} is not in the namespace; make it"
    return f"its pods are refused: {message}"


def _scheduling(seen: Seen) -> Stuck | None:
    """Pods that no node takes."""
    if seen.leaving:
        return None  # what still runs gives its room back when it ends
    for pod in seen.wanted_pods:
        placed = conditions(pod).get("PodScheduled", {})
        if placed.get("status") == "False" and placed.get("reason") == "Unschedulable":
            return Stuck(why=_why_not_placed(placed.get("message", ""), pod), patience_s=20)
    return None


def _why_not_placed(message: str, pod: Object) -> str:
    found = []
    for name in re.findall(r"\d+ Insufficient ([\w/-]+(?:\.[\w/-]+)*)", message):
        of_one = max((_asked(one, name) for one in pod["spec"]["containers"]), default="")
        free = f"no node has {of_one} {name} left" if "/" in name else f"no node has {of_one} of {name} left"
        todo = "; stop another model, or add a node" if "/" in name else "; lower the instance type, or add a node"
        found.append(free + todo)
    if taints := re.findall(r"untolerated taints?(?:\(s\))? ?\{([^}]*)\}", message):
        found.append(f"nodes have taints that it does not tolerate ({', '.join(taints)}); add them to tolerations")
    elif "untolerated taint" in message:
        found.append("nodes have taints that it does not tolerate; add them to the cluster's tolerations")
    if "node affinity/selector" in message:
        selector = ", ".join(f"{key}={value}" for key, value in pod["spec"].get("nodeSelector", {}).items())
        found.append(f"other nodes have not the labels {selector or 'that it asks for'}")
    if "no nodes available" in message:
        found.append("the cluster has no node that is ready")
    return (
        f"no node takes its pod: {', and '.join(found)} ({message})" if found else f"no node takes its pod: {message}"
    )


def _asked(container: Object, resource: str) -> str:
    said = container.get("resources", {}).get("requests", {}).get(resource, "")
    return str(said)


def _images(seen: Seen) -> Stuck | None:
    """Images that cannot be had."""
    for state, _ in _states(seen):
        waiting = state.get("state", {}).get("waiting", {})
        image, said = state.get("image", ""), waiting.get("message", "")
        if waiting.get("reason") == "InvalidImageName":
            return Stuck(why=f"image {image}: that is no name of an image; correct it")
        if waiting.get("reason") in {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"}:
            return Stuck(why=f"image {image} cannot be pulled: {_pull(said, seen)}", patience_s=15)
    return None


def _pull(said: str, seen: Seen) -> str:
    """What the registry answered; while Kubernetes backs off, its events alone say it."""
    if "failed" not in said.lower() and "unauthorized" not in said.lower():
        said = next((e["message"] for e in _warnings(seen, "Pod") if e["message"].startswith("Failed to pull")), said)
    said = " ".join(said.split())
    if re.search(r"unauthorized|denied|authentication required|forbidden", said, re.IGNORECASE):
        return f"the registry refuses; give the namespace's account a pull secret ({said[-300:]})"
    if re.search(r"not found|manifest unknown", said, re.IGNORECASE):
        return f"the registry has no such image; correct its name or digest ({said[-300:]})"
    return said[-300:] or "the registry did not say why"


def _configuration(seen: Seen) -> Stuck | None:
    """Containers that cannot be made of what is there: a secret, a key, a volume."""
    for state, _ in _states(seen):
        waiting = state.get("state", {}).get("waiting", {})
        if waiting.get("reason") in {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}:
            return Stuck(why=f"container {state['name']} cannot be made: {waiting.get('message', '')}", patience_s=10)
    for event in _warnings(seen, "Pod"):
        if event.get("reason") in {"FailedMount", "FailedAttachVolume"}:
            return Stuck(why=f"a volume cannot be mounted: {_short(event)}", patience_s=30)
    return None


def _ended(seen: Seen) -> Stuck | None:
    """Containers that end instead of running."""
    for state, before in _states(seen):
        now = state.get("state", {})
        gone = now.get("terminated") or state.get("lastState", {}).get("terminated")
        if not gone or gone.get("exitCode", 0) == 0:
            continue
        said = " ".join(str(gone.get("message", "")).split())
        if gone.get("reason") == "OOMKilled":
            return Stuck(why=_killed(state["name"], before))
        if before and "running" in now:
            continue  # it was started again, and may come through
        if before and re.search(r"credential|accessdenied|403|401|signature|invalidaccesskey", said, re.IGNORECASE):
            return Stuck(why=f"the storage refuses its credentials; correct the connection's secrets: {said[-400:]}")
        if state.get("restartCount", 0) < 2:  # once may be the driver, a node that had just come, the network
            continue
        what = f"{'the download' if before else 'the engine'} ends again and again, with {gone.get('exitCode')}"
        return Stuck(why=f"{what}: {said[-400:] or 'it did not say why'}")
    return None


def _killed(name: str, before: bool) -> str:
    if before:
        return (
            f"the download ({name}) was killed for memory; raise the limit of KServe's storageInitializer "
            "(inferenceservice-config), or keep the weights in a volume claim"
        )
    return f"container {name} was killed for memory; raise memory_limit of its instance type"


def _states(seen: Seen) -> Iterator[tuple[Object, bool]]:
    for pod in seen.wanted_pods:
        yield from containers(pod)


def _warnings(seen: Seen, kind: str) -> Iterator[Object]:
    """Warnings about objects of a kind, the newest first."""
    found = [one for one in seen.events if one.get("type") == "Warning" and one["involvedObject"].get("kind") == kind]
    yield from sorted(found, key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or "", reverse=True)


def _short(event: Object) -> str:
    return " ".join(str(event.get("message", "")).split())[:400]


_CAUSES: tuple[Callable[[Seen], Stuck | None], ...] = (
    _service,
    _creation,
    _images,
    _configuration,
    _ended,
    _scheduling,
)
"""In this order: a pod that runs says more than one that nobody takes."""
