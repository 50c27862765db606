"""What every Envoy file has in common: the discovery response around it, its version, and typed values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
"""One JSON object; what Envoy reads is checked by Envoy's own validation, not by our types."""

_TYPES = "type.googleapis.com/"

LISTENER = "envoy.config.listener.v3.Listener"
CLUSTER = "envoy.config.cluster.v3.Cluster"
ROUTES = "envoy.config.route.v3.RouteConfiguration"
ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"


def typed(message: str, **fields: Any) -> Json:
    """A value of Envoy's type `Any`: the name of a message and its fields."""
    return {"@type": _TYPES + message, **fields}


def response(resources: Sequence[Json]) -> Json:
    """The content of one watched file; its `version_info` is the digest of what it holds."""
    return {"version_info": digest(resources), "resources": list(resources)}


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that differ when the value differs."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_source(folder: str, name: str) -> Json:
    """Where Envoy reads a file; it reads again when a file is moved into that folder, and never after an edit."""
    path = f"{folder}/{name}"
    return {
        "path_config_source": {"path": path, "watched_directory": {"path": path.rpartition("/")[0]}},
        "resource_api_version": "V3",
    }


def socket_address(host: str, port: int) -> Json:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}
