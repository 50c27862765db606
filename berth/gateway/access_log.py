"""One JSON line per request: who asked which model, what came back, how long each part took."""

from __future__ import annotations

from berth.gateway.names import BODY_NAMESPACE, CLIENT_HEADER, ROUTE_NAMESPACE
from berth.gateway.xds import Json, typed

FIELDS: Json = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client": f"%REQ({CLIENT_HEADER})%",
    "model": f"%METADATA(ROUTE:{ROUTE_NAMESPACE}:model)%",
    "asked": f"%DYNAMIC_METADATA({BODY_NAMESPACE}:model):256%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:PATH)%",
    "route": "%ROUTE_NAME%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "request_ms": "%REQUEST_DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "stream_ms": "%RESPONSE_TX_DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "remote": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
}
"""The fields of a line; times are milliseconds.

`request_ms` ends with the last byte of the request, `first_byte_ms` with the first byte of the answer (both from the
start), `stream_ms` is from the first to the last byte of the answer. `path` is what the engine is asked,
so `route` tells whether the model came from the body or the path. The query is left out, and so is every header that
can hold a key.
"""


_ALL_BUT_HEALTH = {
    "header_filter": {"header": {"name": ":path", "string_match": {"exact": "/health"}, "invert_match": True}},
}
_MODEL = {"name": "model", "value_format": f"%METADATA(ROUTE:{ROUTE_NAMESPACE}:model)%"}
_STATUS = {"name": "status", "value_format": "%RESPONSE_CODE%"}
_WHO = [{"name": "client", "value_format": f"%REQ({CLIENT_HEADER})%"}, _MODEL]
"""Names of keys and of models, both from the plan, so that clients cannot make up new ones."""


def access_log() -> list[Json]:
    """The access log of the gateway's listener, on standard output, and its numbers by client and model.

    Probes of `/health` are worth neither.
    """
    return [
        {
            "name": "envoy.access_loggers.stdout",
            "filter": _ALL_BUT_HEALTH,
            "typed_config": typed(
                "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                log_format={"json_format": FIELDS},
            ),
        },
        {
            "name": "envoy.access_loggers.stats",
            "filter": _ALL_BUT_HEALTH,
            "typed_config": typed(
                "envoy.extensions.access_loggers.stats.v3.Config",
                stats_scope={"prefix": "berth"},
                counters=[
                    {"stat": {"name": "requests", "tags": [*_WHO, _STATUS]}, "value_fixed": 1},
                    {"stat": {"name": "answer_bytes", "tags": _WHO}, "value_format": "%BYTES_SENT%"},
                ],
                histograms=[
                    {
                        "stat": {"name": "first_byte", "tags": [_MODEL]},
                        "unit": "Milliseconds",
                        "value_format": "%RESPONSE_DURATION%",
                    },
                ],
            ),
        },
    ]
