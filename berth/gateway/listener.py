"""The listeners (LDS): what the gateway's door looks like. Nothing here depends on models, keys or weights.

Envoy closes connections when a listener changes, so everything that changes from day to day stands in the routes, the
clusters and the endpoints; the listener of a running stack never changes.
"""

from __future__ import annotations

from berth.gateway.access_log import access_log
from berth.gateway.errors import local_replies
from berth.gateway.names import (
    ADMIN_CLUSTER,
    API_KEY_AUTH,
    BODY_NAMESPACE,
    CLIENT_HEADER,
    JSON_TO_METADATA,
    JSON_TYPE,
    LOOPBACK,
    METRICS_NAME,
    PROBLEM_UNREADABLE,
    ROUTES_FILE,
    ROUTES_NAME,
    STAT_PREFIX,
)
from berth.gateway.xds import LISTENER, Json, file_source, response, socket_address, typed
from berth.planner.plan import GatewayPlan

_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_NOBODY = {"address_prefix": "255.255.255.255", "prefix_len": 32}
_CONNECTION_BUFFER = 1024 * 1024  # bytes; how much of an answer waits for a slow reader, on each connection


def listeners(plan: GatewayPlan, folder: str) -> Json:
    """The content of the listeners file: the OpenAI door and, on loopback, the metrics."""
    return response([_door(plan, folder), _metrics(plan)])


def _door(plan: GatewayPlan, folder: str) -> Json:
    return _listener("openai", plan.bind, plan.port, _door_manager(folder))


def _metrics(plan: GatewayPlan) -> Json:
    """Only the numbers of the admin interface, for Prometheus; the rest of it stays closed."""
    manager = typed(
        _HTTP,
        stat_prefix=METRICS_NAME,
        route_config={
            "name": METRICS_NAME,
            "virtual_hosts": [
                {
                    "name": METRICS_NAME,
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"path": "/metrics"},
                            "route": {"cluster": ADMIN_CLUSTER, "prefix_rewrite": "/stats/prometheus?usedonly"},
                        },
                        {"match": {"path": "/stats/prometheus"}, "route": {"cluster": ADMIN_CLUSTER}},
                        {"match": {"path": "/ready"}, "route": {"cluster": ADMIN_CLUSTER}},
                    ],
                },
            ],
        },
        http_filters=[_router()],
    )
    return _listener(METRICS_NAME, LOOPBACK, plan.metrics_port, manager)


def _listener(name: str, host: str, port: int, manager: Json) -> Json:
    return typed(
        LISTENER,
        name=name,
        address=socket_address(host, port),
        # Without this a second Envoy would share the port silently instead of failing on it.
        enable_reuse_port=False,
        per_connection_buffer_limit_bytes=_CONNECTION_BUFFER,
        filter_chains=[
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]},
        ],
    )


def _door_manager(folder: str) -> Json:
    return typed(
        _HTTP,
        stat_prefix=STAT_PREFIX,
        rds={"route_config_name": ROUTES_NAME, "config_source": file_source(folder, ROUTES_FILE)},
        # Clients are strangers: their x-envoy-* headers (retries, timeouts) are dropped and their address is logged.
        use_remote_address=True,
        internal_address_config={"cidr_ranges": [_NOBODY]},
        early_header_mutation_extensions=[_drop_client_header()],
        normalize_path=True,
        merge_slashes=True,
        always_set_request_id_in_response=True,
        server_name="berth",
        common_http_protocol_options={"idle_timeout": "3600s", "headers_with_underscores_action": "DROP_HEADER"},
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
        },
        request_headers_timeout="10s",
        http_filters=[_key_filter(), _body_filter(), _router()],
        local_reply_config=local_replies(),
        access_log=access_log(),
    )


def _drop_client_header() -> Json:
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(
            "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            mutations=[{"remove": CLIENT_HEADER}],
        ),
    }


def _key_filter() -> Json:
    """Keys come first, before anything is buffered. The keys themselves stand in the routes; without them: no entry."""
    return {
        "name": API_KEY_AUTH,
        "typed_config": typed(
            "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            key_sources=[{"header": "authorization"}],
        ),
    }


def _body_filter() -> Json:
    """Reads `model` from the JSON body. Off unless a route turns it on, since it waits for the whole body."""

    def value(key: str, text: str) -> Json:
        return {"metadata_namespace": BODY_NAMESPACE, "key": key, "value": text}

    read = value("read", "yes")
    model = {"metadata_namespace": BODY_NAMESPACE, "key": "model", "type": "STRING"}
    rules = [
        {"selectors": [{"key": "model"}], "on_present": read, "on_missing": read, "on_error": read},
        {
            "selectors": [{"key": "model"}],
            "on_present": model,
            "on_error": value("problem", PROBLEM_UNREADABLE),
        },
    ]
    return {
        "name": JSON_TO_METADATA,
        "disabled": True,
        "typed_config": typed(
            "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
            request_rules={
                "rules": rules,
                "allow_content_types": ["application/json"],
                "allow_content_types_regex": {"regex": JSON_TYPE},
            },
        ),
    }


def _router() -> Json:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    }
