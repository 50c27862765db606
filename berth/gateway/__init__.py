"""The gateway: from a `GatewayPlan` to the files of an Envoy that speaks OpenAI's API. Pure functions, no I/O."""

from berth.gateway.admin import (
    CLUSTERS_PATH,
    CONFIG_DUMP_PATH,
    STATS_PATH,
    Published,
    healthy,
    published,
    rejections,
    running,
)
from berth.gateway.bootstrap import bootstrap
from berth.gateway.clusters import between, clusters
from berth.gateway.endpoints import EndpointState, endpoints, read_endpoints, state
from berth.gateway.flat import flat_bootstrap
from berth.gateway.keys import with_keys, without_keys
from berth.gateway.listener import listeners
from berth.gateway.names import CERTIFICATE_FILE, cluster_name, endpoints_file
from berth.gateway.process import DRAIN_S, ENVOY_REQUIREMENT, START, command, envoy_path, validate_command
from berth.gateway.routes import routes
from berth.gateway.status import status
from berth.gateway.tls import secrets

__all__ = [
    "CERTIFICATE_FILE",
    "CLUSTERS_PATH",
    "CONFIG_DUMP_PATH",
    "DRAIN_S",
    "ENVOY_REQUIREMENT",
    "START",
    "STATS_PATH",
    "EndpointState",
    "Published",
    "between",
    "bootstrap",
    "cluster_name",
    "clusters",
    "command",
    "endpoints",
    "endpoints_file",
    "envoy_path",
    "flat_bootstrap",
    "healthy",
    "listeners",
    "published",
    "read_endpoints",
    "rejections",
    "routes",
    "running",
    "secrets",
    "state",
    "status",
    "validate_command",
    "with_keys",
    "without_keys",
]
