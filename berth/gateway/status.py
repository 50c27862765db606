"""The routes of the metrics listener: numbers for Prometheus, and which models are up, as far as anybody has looked.

The watcher writes this file anew with what it sees: it replaces the answers of `/health` and `/engines` and leaves the
rest. Until it has looked for the first time nothing is known, and `/health` says that.
"""

from __future__ import annotations

from typing import Final

from berth.gateway.errors import direct
from berth.gateway.names import ADMIN_CLUSTER, METRICS_NAME
from berth.gateway.xds import ROUTES, Json, response, typed
from berth.planner.plan import GatewayPlan

UNKNOWN: Final = "unknown"
_TEXT = {"header": {"key": "content-type", "value": "text/plain; version=0.0.4"}}


def status(plan: GatewayPlan) -> Json:
    """The content of the status file before the watcher has looked."""
    models = {model.name: UNKNOWN for model in plan.models}
    table = [
        {"name": "health", "match": {"path": "/health"}, **direct(200, {"status": UNKNOWN, "models": models})},
        {
            "name": "engines",
            "match": {"path": "/engines"},
            "direct_response": {"status": 200, "body": {"inline_string": ""}},
            "response_headers_to_add": [{**_TEXT, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        },
        {
            "name": "metrics",
            "match": {"path": "/metrics"},
            "route": {"cluster": ADMIN_CLUSTER, "prefix_rewrite": "/stats/prometheus?usedonly"},
        },
        {"name": "stats", "match": {"path": "/stats/prometheus"}, "route": {"cluster": ADMIN_CLUSTER}},
        {"name": "ready", "match": {"path": "/ready"}, "route": {"cluster": ADMIN_CLUSTER}},
    ]
    host = {"name": METRICS_NAME, "domains": ["*"], "routes": table}
    # Each model has a few words in the answer of /health; Envoy's own limit is 4096 bytes.
    largest = 4096 + 512 * len(plan.models)
    return response(
        [typed(ROUTES, name=METRICS_NAME, virtual_hosts=[host], max_direct_response_body_size_bytes=largest)],
    )
