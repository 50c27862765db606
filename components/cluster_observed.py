"""What the stack's clusters are, asked before anything is declared on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from berth.facts.cluster import ClusterFacts
from berth.planner.plan import ClusterPlan
from berth.provider.kubernetes.settings import CLUSTERS


def observe_clusters(
    clusters: Mapping[str, ClusterPlan], options: pulumi.InvokeOptions
) -> Mapping[str, ClusterFacts | str]:
    """Asks all clusters at once; of one that does not answer, why not."""
    asked = {"clusters": {name: cluster.namespace for name, cluster in clusters.items()}}
    said: Mapping[str, Mapping[str, str]] = pulumi.runtime.invoke(CLUSTERS, asked, options).value
    return {name: _read(name, said[name]) for name in clusters}


def _read(name: str, said: Mapping[str, str]) -> ClusterFacts | str:
    if "facts" in said:
        return ClusterFacts.model_validate_json(said["facts"])
    why = said["problem"].removeprefix(f"cluster {name}: ")
    return f"not reached ({why}); make it reachable, or correct kubeconfig or context"


def cluster_settings(cluster: ClusterPlan) -> Mapping[str, Any]:
    """How the provider reaches a cluster. Without the kubeconfig's secret, it asks where kubectl would."""
    kubeconfig = pulumi.Config().get(cluster.kubeconfig) if cluster.kubeconfig is not None else None
    said = {"kubeconfig": kubeconfig, "context": cluster.context}
    return {"connection": {"cluster": {key: value for key, value in said.items() if value is not None}}}
