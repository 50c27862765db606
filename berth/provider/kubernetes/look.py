"""Reads what is there of one service: a few lists, all asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from berth.provider.kubernetes.api import Api
from berth.provider.kubernetes.seen import SPECIFICATION, Object, Seen

_PODS = {
    "InferenceService": "serving.kserve.io/inferenceservice={}",
    "LLMInferenceService": "app.kubernetes.io/name={},kserve.io/component=workload",
}
"""The labels that KServe gives to the pods of a service and to what makes them, by the service's kind."""


async def look(api: Api, namespace: str, service: str, specification: str, *, kind: str, api_version: str) -> Seen:
    """What is seen of a service now.

    Raises:
        Refused: the login may not read one of them.
        Unreachable: the API server did not answer.
    """
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    label = _PODS[kind].format(service)
    found, deployments, groups, replica_sets, pods, events = await asyncio.gather(
        api.get(f"/apis/{api_version}/namespaces/{namespace}/{kind.lower()}s/{service}"),
        api.items(f"{apps}/deployments", labelSelector=label),
        _groups(api, namespace, service, kind),
        api.items(f"{apps}/replicasets", labelSelector=label),
        api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=label),
        api.items(f"/api/v1/namespaces/{namespace}/events", fieldSelector="type=Warning"),
    )
    names = {service, *(one["metadata"]["name"] for one in (*deployments, *groups, *replica_sets, *pods))}
    return Seen(
        specification=specification,
        service=found,
        deployments=[*deployments, *(_as_deployment(group, pods, specification) for group in groups)],
        replica_sets=[one for one in replica_sets if one["spec"].get("replicas")],
        pods=pods,
        events=[event for event in events if event["involvedObject"].get("name") in names],
    )


async def _groups(api: Api, namespace: str, service: str, kind: str) -> Sequence[Object]:
    """What makes the pods of an LLMInferenceService on several nodes; none where no cluster has such groups."""
    if kind != "LLMInferenceService":
        return []
    label = f"app.kubernetes.io/name={service},app.kubernetes.io/part-of=llminferenceservice"
    path = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{namespace}/leaderworkersets"
    return await api.items(path, labelSelector=label)


def _as_deployment(group: Object, pods: Sequence[Object], specification: str) -> Object:
    """A LeaderWorkerSet as if it were a Deployment of its leaders, which are its pods that answer.

    It tells of no generation that it has seen, so that how many are of the wanted one is counted at the pods.
    """
    about, spec = group["metadata"], group["spec"]
    there = [one["metadata"] for one in pods if "deletionTimestamp" not in one["metadata"]]
    wanted = [one for one in there if one.get("annotations", {}).get(SPECIFICATION) == specification]
    return {
        "metadata": about,
        "spec": {"replicas": spec.get("replicas", 1), "template": spec["leaderWorkerTemplate"]["leaderTemplate"]},
        "status": {
            "observedGeneration": about["generation"],
            "replicas": len(there),
            "updatedReplicas": len(wanted),
            "availableReplicas": group.get("status", {}).get("readyReplicas", 0),
        },
    }
