"""What is seen of one service on a cluster at one moment, as plain objects; and what of its pods is the newest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]

SPECIFICATION = "dev.berth/specification"
"""The annotation on a service's pods that says which declaration they are made from."""

_PLAIN = ("RawDeployment", "Standard")
"""The modes of KServe without Knative, by their older name and their newer."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The service, the workload behind it, its pods, and the warnings about all of them.

    `specification` is what pods of the wanted declaration are marked with; where they are not, it is empty.
    """

    specification: str
    service: Object | None
    deployments: Sequence[Object] = ()
    replica_sets: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    events: Sequence[Object] = field(default=())

    @property
    def deployment(self) -> Object | None:
        """The Deployment once it is of the wanted declaration, and of the service as it is now.

        The mark alone does not tell: a service that was changed by hand has the same.
        """
        templates = ((one, one["spec"]["template"]) for one in self.deployments)
        return next((one for one, made in templates if self._is_wanted(made) and _follows(made, self.service)), None)

    @property
    def wanted_pods(self) -> Sequence[Object]:
        """The pods of the wanted declaration that are to stay."""
        return [pod for pod in self.pods if self._is_wanted(pod) and "deletionTimestamp" not in pod["metadata"]]

    @property
    def leaving(self) -> int:
        """How many pods of an earlier declaration are there still."""
        return len(self.pods) - len(self.wanted_pods)

    def rolled_out(self) -> bool:
        """Whether the workload has just the wanted pods, and all of them are available."""
        deployment = self.deployment
        if deployment is None:
            return False
        status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
        return bool(
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("updatedReplicas", 0) == wanted
            and status.get("replicas", 0) == wanted
            and status.get("availableReplicas", 0) == wanted
        )

    def judged(self) -> bool:
        """Whether the service's conditions are of its workload as it is now, and not of what it was before.

        What KServe gives as the observed generation of an InferenceService is its Deployment's; with Knative that of
        a Knative Service, which is not looked at: then a rollout has to do.
        """
        service = self.service or {}
        is_llm = service.get("kind") == "LLMInferenceService"
        if not is_llm and _mode(service) not in _PLAIN:
            return self.rolled_out()
        observed = service if is_llm else self.deployment or {}
        now = observed.get("metadata", {}).get("generation")
        return bool(service.get("status", {}).get("observedGeneration", now) == now)

    def _is_wanted(self, marked: Object) -> bool:
        found: str = marked["metadata"].get("annotations", {}).get(SPECIFICATION, "")
        return self.specification in {"", found}


def _mode(service: Object) -> str:
    """How KServe deploys an InferenceService: as it says itself, or as it is told."""
    told = service.get("metadata", {}).get("annotations", {}).get("serving.kserve.io/deploymentMode", "")
    return str(service.get("status", {}).get("deploymentMode") or told)


def _follows(template: Object, service: Object | None) -> bool:
    """Whether pods get the arguments that an InferenceService says; those of its runtime come before them."""
    model = (service or {}).get("spec", {}).get("predictor", {}).get("model", {})
    said = [word for word in model.get("args", ()) if "{{" not in word]
    made = [word for one in template.get("spec", {}).get("containers", ()) for word in one.get("args", ())]
    return not said or made[-len(said) :] == said


def conditions(one: Object | None) -> Mapping[str, Object]:
    """The conditions of an object by their types."""
    return {item["type"]: item for item in (one or {}).get("status", {}).get("conditions", ())}


def containers(pod: Object) -> Iterator[tuple[Object, bool]]:
    """The states of a pod's containers in the order in which they start, each with whether it comes before the engine.

    A container that never ends is no part of the start, though Kubernetes lists it as one.
    """
    status = pod.get("status", {})
    always = {one["name"] for one in pod["spec"].get("initContainers", ()) if one.get("restartPolicy") == "Always"}
    for state in status.get("initContainerStatuses", ()):
        if state["name"] not in always:
            yield state, True
    for state in status.get("containerStatuses", ()):
        yield state, False
