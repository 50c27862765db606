"""The bootstrap: what Envoy is started with. It changes only with the ports of the stack and the limit of a body."""

from __future__ import annotations

from berth.gateway.names import (
    ADMIN_CLUSTER,
    CLUSTERS_FILE,
    LOOPBACK,
    NOWHERE_CLUSTER,
    SERVED_LISTENERS_FILE,
    STATUS_CLUSTER,
)
from berth.gateway.xds import Json, file_source, socket_address, typed
from berth.planner.plan import GatewayPlan

MAX_CONNECTIONS = 4096
"""Clients at once. Each may need a second file for its engine, and hosts allow 20 000 files or more."""

_BASE_HEAP = 2**30
_BODIES_AT_ONCE = 64
_PROGRAM_SIZE = {"max_program_size": {"error_level": 100_000, "warn_level": 100_000}}


def bootstrap(plan: GatewayPlan, folder: str) -> Json:
    """The content of the bootstrap file; `folder` is the absolute path of the gateway's folder on its host."""
    return {
        "node": {"id": f"berth-gateway-{plan.port}", "cluster": "berth"},
        "admin": _admin(plan),
        "dynamic_resources": {
            "lds_config": file_source(folder, SERVED_LISTENERS_FILE),
            "cds_config": file_source(folder, CLUSTERS_FILE),
        },
        "static_resources": {
            "clusters": [
                _own_cluster(ADMIN_CLUSTER, plan.admin_port),
                _own_cluster(STATUS_CLUSTER, plan.metrics_port),
                {"name": NOWHERE_CLUSTER, "type": "STATIC"},
            ],
        },
        "overload_manager": _overload(plan),
        # Envoy refuses regular expressions of more than 100 steps, meant for those that users write. Ours are made
        # from names and matched in time linear to the path; a name of 60 characters alone takes 100 steps.
        "layered_runtime": {"layers": [{"name": "berth", "static_layer": {"re2": _PROGRAM_SIZE}}]},
    }


def _admin(plan: GatewayPlan) -> Json:
    """Only on loopback and only what reads: anyone who reaches `/quitquitquit` or `/runtime_modify` may use them."""
    return {
        "address": socket_address(LOOPBACK, plan.admin_port),
        "allow_paths": [
            {"exact": "/ready"},
            {"exact": "/server_info"},
            {"prefix": "/stats"},
            {"prefix": "/clusters"},
            {"prefix": "/config_dump"},
        ],
    }


def _own_cluster(name: str, port: int) -> Json:
    """A way from one of Envoy's doors to another: the metrics ask the admin interface, `/health` asks the metrics.

    Few requests at a time, since nobody needs a key for `/health`.
    """
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [{"max_requests": 64, "max_pending_requests": 64}]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(LOOPBACK, port)}}]}],
        },
    }


def _overload(plan: GatewayPlan) -> Json:
    """Bounds on memory and connections; near the first, new requests are refused rather than all of them lost."""
    heap = _BASE_HEAP + _BODIES_AT_ONCE * int(plan.max_body)

    def when_heap_is(share: float, action: str) -> Json:
        trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}
        return {"name": f"envoy.overload_actions.{action}", "triggers": [trigger]}

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            _monitor("fixed_heap.v3.FixedHeapConfig", "fixed_heap", max_heap_size_bytes=heap),
            _monitor(
                "downstream_connections.v3.DownstreamConnectionsConfig",
                "global_downstream_max_connections",
                max_active_downstream_connections=MAX_CONNECTIONS,
            ),
        ],
        "actions": [when_heap_is(0.9, "shrink_heap"), when_heap_is(0.97, "stop_accepting_requests")],
    }


def _monitor(message: str, name: str, **fields: int) -> Json:
    return {
        "name": f"envoy.resource_monitors.{name}",
        "typed_config": typed(f"envoy.extensions.resource_monitors.{message}", **fields),
    }
