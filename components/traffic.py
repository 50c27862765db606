"""How a replica stands in the gateway's traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berth.gateway import cluster_name, endpoints_file
from berth.planner.plan import GatewayPlan, ReplicaPlan
from components.place import HostPlace


def traffic(plan: ReplicaPlan, place: HostPlace, gateway: GatewayPlan | None) -> Mapping[str, Any]:
    """The inputs by which a replica joins and leaves the traffic of a gateway on its host; without one it has none."""
    cluster = cluster_name(plan.model, plan.revision)
    if gateway is None or gateway.host != plan.host:
        return {"cluster": cluster, "endpoints": "", "admin_port": 0}
    endpoints = f"{place.workspace}/gateway/{endpoints_file(cluster)}"
    return {"cluster": cluster, "endpoints": endpoints, "admin_port": gateway.admin_port}
