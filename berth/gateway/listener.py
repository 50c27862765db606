"""The listeners (LDS): what the gateway's door looks like. Nothing here depends on models, keys or weights.

Envoy closes connections when a listener changes, so everything that changes from day to day stands in the routes, the
clusters and the endpoints; the listener of a running stack never changes.
"""

from __future__ import annotations

from berth.gateway.access_log import access_log
from berth.gateway.clients import client_known_filter, limits_filter
from berth.gateway.errors import direct, error, local_replies
from berth.gateway.names import (
    API_KEY_AUTH,
    BODY_NAMESPACE,
    CERTIFICATE_NAME,
    CLIENT_HEADER,
    JSON_TO_METADATA,
    JSON_TYPE,
    LOOPBACK,
    METRICS_NAME,
    PROBLEM_UNREADABLE,
    ROUTES_FILE,
    ROUTES_NAME,
    SECRETS_FILE,
    STAT_PREFIX,
    STATUS_FILE,
)
from berth.gateway.xds import LISTENER, Json, file_source, response, socket_address, typed
from berth.planner.plan import GatewayPlan

_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_NOBODY = {"address_prefix": "255.255.255.255", "prefix_len": 32}
_CONNECTION_BUFFER = 1024 * 1024  # bytes; how much of an answer waits for a slow reader, on each connection


def listeners(plan: GatewayPlan, folder: str) -> Json:
    """The content of the listeners file: the OpenAI door and, on loopback, the metrics."""
    return response([_door(plan, folder), _metrics(plan, folder)])


def _door(plan: GatewayPlan, folder: str) -> Json:
    """Where clients come in. With encryption, clients on the host itself may also come without, as proofs do."""
    manager = _door_manager(folder)
    if plan.tls is None:
        return _listener("openai", plan.bind, plan.port, [_chain(manager)])
    encrypted = {
        "filter_chain_match": {"transport_protocol": "tls"},
        **_chain(manager),
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": typed(
                "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                common_tls_context={
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificate_sds_secret_configs": [
                        {"name": CERTIFICATE_NAME, "sds_config": file_source(folder, SECRETS_FILE)},
                    ],
                },
            ),
        },
    }
    from_here = {
        "filter_chain_match": {"transport_protocol": "raw_buffer", "source_type": "SAME_IP_OR_LOOPBACK"},
        **_chain(manager),
    }
    refused = {"filter_chain_match": {"transport_protocol": "raw_buffer"}, **_chain(_unencrypted_manager())}
    listener = _listener("openai", plan.bind, plan.port, [encrypted, from_here, refused])
    inspector = typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")
    listener["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}]
    return listener


def _unencrypted_manager() -> Json:
    """Tells clients of other machines that came without encryption; their key was on the way already."""
    said = error("This gateway is reached with https://.", "invalid_request_error", "https_required")
    host = {"name": "unencrypted", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **direct(400, said)}]}
    return typed(
        _HTTP,
        stat_prefix="unencrypted",
        route_config={"name": "unencrypted", "virtual_hosts": [host]},
        http_filters=[_router()],
    )


def _metrics(plan: GatewayPlan, folder: str) -> Json:
    """On loopback: the numbers for Prometheus, and what the watcher knows. Its routes are the watcher's file."""
    manager = typed(
        _HTTP,
        stat_prefix=METRICS_NAME,
        rds={"route_config_name": METRICS_NAME, "config_source": file_source(folder, STATUS_FILE)},
        http_filters=[_router()],
    )
    return _listener(METRICS_NAME, LOOPBACK, plan.metrics_port, [_chain(manager)])


def _listener(name: str, host: str, port: int, chains: list[Json]) -> Json:
    return typed(
        LISTENER,
        name=name,
        address=socket_address(host, port),
        # Without this a second Envoy would share the port silently instead of failing on it.
        enable_reuse_port=False,
        per_connection_buffer_limit_bytes=_CONNECTION_BUFFER,
        filter_chains=chains,
    )


def _chain(manager: Json) -> Json:
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


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
        http_filters=[_key_filter(), limits_filter(), client_known_filter(), _body_filter(), _router()],
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
