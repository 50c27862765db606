"""The routes that answer instead of forwarding: too large, no model, an unknown one, a path that is not OpenAI's."""

from __future__ import annotations

from collections.abc import Iterator

from berth.gateway.clients import views
from berth.gateway.errors import direct, direct_filled, error, literal
from berth.gateway.names import (
    BODY_NAMESPACE,
    CLIENT_KNOWN,
    JSON_TO_METADATA,
    JSON_TYPE,
    NOWHERE_CLUSTER,
    PROBLEM_UNREADABLE,
    served_names,
)
from berth.gateway.xds import Json, typed
from berth.planner.plan import GatewayPlan

_INVALID = "invalid_request_error"
_LARGEST = 2**53  # beyond it a number does not pass through JSON, where all are floating point, unchanged
_IS_JSON = {"name": "content-type", "string_match": {"safe_regex": {"regex": JSON_TYPE}}}
_NOT_JSON = "The body must be JSON: send Content-Type: application/json, or use the path /m/MODEL/v1/…."
_UNKNOWN = "The model {asked} does not exist, or this API key may not use it; served: {served}."


def too_large(plan: GatewayPlan) -> Json:
    """Refuses by the announced length, before a byte is read; a body of unknown length meets the buffer's limit."""
    sizes = {"start": int(plan.max_body) + 1, "end": _LARGEST}
    return {
        "name": "too-large",
        "match": {"prefix": "/", "headers": [{"name": "content-length", "range_match": sizes}]},
        **direct(413, error("The request body is too large.", _INVALID, "request_too_large")),
    }


def refusals(plan: GatewayPlan, body_path: str) -> list[Json]:
    """What remains: a wrong body, an unknown model, a path that is not OpenAI's.

    `body_path` is a regular expression (RE2) of the paths whose body is read.
    """
    body: Json = {"safe_regex": {"regex": body_path}}
    return [
        _unreadable(body),
        *(_unknown_model(body, served, headers) for headers, served in _served(plan)),
        *(_no_model(body, served, headers) for headers, served in _served(plan)),
        {
            # Every request with a JSON body meets this route first and never again: after the body was read, one of
            # those above matches. It forwards to nowhere rather than answer, because only a route that forwards has
            # a limit for what is buffered.
            "name": "body",
            "match": with_headers(body, [_IS_JSON]),
            "route": {"cluster": NOWHERE_CLUSTER},
            # The model makes the routes be tried again; that the client is known needs no turn of its own.
            "typed_per_filter_config": {JSON_TO_METADATA: _on(), CLIENT_KNOWN: _off()},
        },
        {
            "name": "body of another type",
            "match": body,
            **direct(415, error(_NOT_JSON, _INVALID, "unsupported_media_type")),
        },
        *(_unknown_path_model(served, headers) for headers, served in _served(plan)),
        {
            "name": "unknown path",
            "match": {"prefix": "/"},
            **direct(404, error("No such path; see /v1/models.", _INVALID, "unknown_url")),
        },
    ]


def with_headers(match: Json, headers: list[Json]) -> Json:
    """A match that asks for headers besides."""
    return {**match, "headers": headers} if headers else match


def body_has(key: str, value: Json) -> Json:
    """What a route asks of what was read from the body."""
    return {"filter": BODY_NAMESPACE, "path": [{"key": key}], "value": value}


def _served(plan: GatewayPlan) -> Iterator[tuple[list[Json], str]]:
    """What each client may be told that there is."""
    for headers, models in views(plan):
        yield headers, ", ".join(name for model in models for name in served_names(model)) or "none"


def _unreadable(body: Json) -> Json:
    problem = body_has("problem", {"string_match": {"exact": PROBLEM_UNREADABLE}})
    return {
        "name": "body unreadable",
        "match": {**body, "dynamic_metadata": [problem]},
        **direct(400, error("The body is not a JSON object.", _INVALID, "invalid_json")),
    }


def _unknown_model(body: Json, served: str, headers: list[Json]) -> Json:
    message = _UNKNOWN.format(asked=f"%DYNAMIC_METADATA({BODY_NAMESPACE}:model)%", served=literal(served))
    return {
        "name": "unknown model",
        "match": with_headers({**body, "dynamic_metadata": [body_has("model", {"present_match": True})]}, headers),
        **direct_filled(404, error(message, _INVALID, "model_not_found", "model")),
    }


def _no_model(body: Json, served: str, headers: list[Json]) -> Json:
    return {
        "name": "body without model",
        "match": with_headers({**body, "dynamic_metadata": [body_has("read", {"present_match": True})]}, headers),
        **direct(400, error(f"The body names no model; served: {served}.", _INVALID, "missing_model", "model")),
    }


def _unknown_path_model(served: str, headers: list[Json]) -> Json:
    message = _UNKNOWN.format(asked="in the path", served=served)
    return {
        "name": "unknown model in path",
        "match": with_headers({"safe_regex": {"regex": "(?:/m/.*|/v1/models/.+)"}}, headers),
        **direct(404, error(message, _INVALID, "model_not_found", "model")),
    }


def _off() -> Json:
    return typed("envoy.config.route.v3.FilterConfig", disabled=True)


def _on() -> Json:
    return typed("envoy.config.route.v3.FilterConfig", config={})
