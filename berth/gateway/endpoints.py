"""The endpoints (EDS): where the engines of one revision listen. Written by the replicas, one file for each cluster.

A replacement that holds requests goes through these states, each one file swapped by rename::

    SERVING    [old]  held=False   requests go to the engine; when it is dead they fail at once
    HELD       []     held=True    requests wait, knocking at a port where nobody listens
    RELEASING  [new]  held=True    as HELD until the new engine is healthy, then requests go to it
    SERVING    [new]  held=False

Before the first engine is ready the file says ABSENT: no address, not held, so requests fail at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from berth.gateway.names import LOOPBACK
from berth.gateway.xds import ENDPOINTS, Json, response, socket_address, typed

DEAD_PORT = 1  # tcpmux: reserved for root and served by nobody, so that a connection is refused at once
_ALL_TO_ENGINES = 10**6  # percent; one healthy engine of many takes everything before anything falls to the dead port


class EndpointState(StrEnum):
    """What an endpoints file makes of a request."""

    ABSENT = "absent"
    HELD = "held"
    RELEASING = "releasing"
    SERVING = "serving"


def endpoints(cluster: str, addresses: Sequence[tuple[str, int]], held: bool) -> Json:
    """The content of an endpoints file: engines at IP addresses and ports, and whether requests wait for them."""
    groups: list[Json] = []
    if addresses:
        groups.append(_group([{"endpoint": {"address": socket_address(*address)}} for address in addresses]))
    if held:
        groups.append(_group([_nobody()], priority=len(groups)))
    assignment = typed(ENDPOINTS, cluster_name=cluster, endpoints=groups)
    if addresses and held:
        assignment["policy"] = {"overprovisioning_factor": _ALL_TO_ENGINES}
    return response([assignment])


def read_endpoints(file: Json) -> tuple[tuple[tuple[str, int], ...], bool]:
    """The addresses and `held` of a file that `endpoints` made, so that a replica can change its own part."""
    addresses: list[tuple[str, int]] = []
    held = False
    for group in file["resources"][0].get("endpoints", []):
        for endpoint in group["lb_endpoints"]:
            where = endpoint["endpoint"]["address"]["socket_address"]
            if where["port_value"] == DEAD_PORT:
                held = True
            else:
                addresses.append((where["address"], where["port_value"]))
    return tuple(addresses), held


def state(file: Json) -> EndpointState:
    """Which state a file is in."""
    addresses, held = read_endpoints(file)
    if held:
        return EndpointState.RELEASING if addresses else EndpointState.HELD
    return EndpointState.SERVING if addresses else EndpointState.ABSENT


def _group(endpoints: list[Json], priority: int = 0) -> Json:
    return {"priority": priority, "lb_endpoints": endpoints}


def _nobody() -> Json:
    """Never asked for its health, so always taken for healthy; each try fails to connect and is tried again."""
    return {
        "endpoint": {
            "address": socket_address(LOOPBACK, DEAD_PORT),
            "health_check_config": {"disable_active_health_check": True},
        },
    }
