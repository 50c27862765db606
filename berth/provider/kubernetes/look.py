"""Reads what is there of one service: a few lists, all asked at once."""

from __future__ import annotations

import asyncio

from berth.provider.kubernetes.api import Api
from berth.provider.kubernetes.seen import Seen

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
    found, deployments, replica_sets, pods, events = await asyncio.gather(
        api.get(f"/apis/{api_version}/namespaces/{namespace}/{kind.lower()}s/{service}"),
        api.items(f"{apps}/deployments", labelSelector=label),
        api.items(f"{apps}/replicasets", labelSelector=label),
        api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=label),
        api.items(f"/api/v1/namespaces/{namespace}/events", fieldSelector="type=Warning"),
    )
    names = {service, *(one["metadata"]["name"] for one in (*deployments, *replica_sets, *pods))}
    return Seen(
        specification=specification,
        service=found,
        deployments=deployments,
        replica_sets=[one for one in replica_sets if one["spec"].get("replicas")],
        pods=pods,
        events=[event for event in events if event["involvedObject"].get("name") in names],
    )
