"""The services of a cluster: the replicas of one revision there, as KServe takes them together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from berth.kubernetes.values import MANAGED_LABEL, MODEL_LABEL, REVISION_LABEL, STACK_LABEL
from berth.planner.plan import ClusterPlan, Plan, PodPlan, ReplicaPlan

PORT = 8080
"""The port of an engine in a pod: KServe's runtimes, its probes and its metrics use it."""

LLM_PODS = {"kserve.io/component": "workload"}
"""What KServe marks those pods of an LLMInferenceService with that answer: on several nodes, the first."""

STANDARD_SINCE = (0, 16)
"""KServe's release that calls its modes Standard and Knative; before, RawDeployment and Serverless."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One revision of a model on one cluster. Its replicas are alike, so that one speaks for all."""

    stack: str
    cluster: ClusterPlan
    replica: ReplicaPlan
    pod: PodPlan
    count: int
    version: tuple[int, int]
    names: tuple[str, ...]
    """What the engine answers to, its model's own name first."""

    @property
    def name(self) -> str:
        """The name of its objects."""
        return self.replica.service_name

    @property
    def dashboard(self) -> bool:
        """Whether the dashboard of OpenShift AI is to show it."""
        return self.cluster.kind == "openshift-ai"

    @property
    def standard(self) -> bool:
        """Whether KServe makes Deployments of it, not Knative services."""
        return self.cluster.mode == "standard"

    @property
    def port(self) -> int:
        """Where its engines listen: as the runtimes of KServe have it, or as its LLMInferenceService has."""
        return 8000 if self.pod.service == "llm" else PORT

    @property
    def labels(self) -> dict[str, str]:
        """What every object of the service is found by."""
        mine = {MODEL_LABEL: self.replica.model, REVISION_LABEL: self.replica.revision}
        return {**labels(self.stack), **mine, **({"opendatahub.io/dashboard": "true"} if self.dashboard else {})}

    @property
    def pod_labels(self) -> dict[str, str]:
        """What its pods are found by: KServe marks them with the service's name, in either mode."""
        if self.pod.service == "llm":
            return {"app.kubernetes.io/name": self.name, **LLM_PODS}
        return {"serving.kserve.io/inferenceservice": self.name}


def services(plan: Plan, cluster: str, version: tuple[int, int]) -> Iterator[Service]:
    """The services of a cluster in start order, parked ones last; `version` is KServe's there."""
    counted: dict[str, list[ReplicaPlan]] = {}
    for replica in (*plan.replicas, *plan.parked):
        if replica.host == cluster and replica.pod is not None:
            counted.setdefault(replica.service_name, []).append(replica)
    for replicas in counted.values():
        first = replicas[0]
        if first.pod is not None:
            yield Service(
                stack=plan.stack,
                cluster=plan.clusters[cluster],
                replica=first,
                pod=first.pod,
                count=len(replicas),
                version=version,
                names=_names(plan, first),
            )


def _names(plan: Plan, replica: ReplicaPlan) -> tuple[str, ...]:
    """The names that clients may use; those of single revisions only where a gateway tells them apart."""
    by_gateway = plan.gateway is not None and plan.gateway.host == replica.host
    own = f"{replica.model}@{replica.revision}"
    return tuple(name for name in replica.served_names if by_gateway or name != own)


def labels(stack: str) -> dict[str, str]:
    """What every object of a stack is found by."""
    return {MANAGED_LABEL: "berth", STACK_LABEL: stack}
