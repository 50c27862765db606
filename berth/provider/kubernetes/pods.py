"""Pods of a cluster, asked through its API server: nothing of Berth's runs in the cluster for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from berth.provider.asking import Way
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.kubernetes.connection import api_of
from berth.provider.kubernetes.seen import SPECIFICATION, Object, conditions
from berth.provider.ways import Pods


async def ways_to(host: Host, port: int, pods: Pods) -> Sequence[Way]:
    """The way to a port of each of these pods, in the order of their names.

    Raises:
        ProviderError: none of them is ready.
        Refused: the login may not read them.
        Unreachable: the API server did not answer.
    """
    api, labels = api_of(host), ",".join(f"{key}={value}" for key, value in sorted(pods.labels.items()))
    listed = await api.items(f"/api/v1/namespaces/{pods.namespace}/pods", labelSelector=labels)
    names = sorted(_ready(listed, pods.specification))
    if not names:
        raise ProviderError(
            f"no pod with {labels} in namespace {pods.namespace} on {host.name} is ready, must be one at least "
            f"(there are {len(listed)}); `kubectl describe pods --namespace {pods.namespace} --selector {labels}` says "
            "why, the next update asks again"
        )
    session, server = await api.session()
    path = f"{server}/api/v1/namespaces/{pods.namespace}/pods"
    return [Way(url=f"{path}/{name}:{port}/proxy/v1", pod=name, open=session) for name in names]


def _ready(listed: Sequence[Object], specification: str) -> Iterator[str]:
    for pod in listed:
        about = pod["metadata"]
        marked = specification in {"", about.get("annotations", {}).get(SPECIFICATION, "")}
        if marked and "deletionTimestamp" not in about and conditions(pod).get("Ready", {}).get("status") == "True":
            yield about["name"]
