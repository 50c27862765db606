"""The routes (RDS): which request goes to which revision of which model, and who may ask.

The order matters. A request to one of OpenAI's paths first meets the route that reads its body, at the end; the model
found there clears the choice, and the routes are tried again from the top, now with the model known.
"""

from __future__ import annotations

import math
from typing import Any

from berth.gateway.errors import direct, direct_filled, error, literal
from berth.gateway.models_list import entries, models_list
from berth.gateway.names import (
    API_KEY_AUTH,
    BODY_NAMESPACE,
    BODY_PATHS,
    CLIENT_HEADER,
    FORM_PATHS,
    JSON_TO_METADATA,
    JSON_TYPE,
    NOWHERE_CLUSTER,
    PROBLEM_UNREADABLE,
    ROUTE_NAMESPACE,
    ROUTES_NAME,
    all_names,
    alternatives,
    cluster_name,
    name_in_path,
    served_names,
)
from berth.gateway.xds import ROUTES, Json, response, typed
from berth.planner.plan import GatewayPlan, KeyPlan, ModelRoute

_INVALID = "invalid_request_error"
_BODY_PATH = f"/v1/{alternatives(BODY_PATHS)}"
_MODEL_PATH = f"/v1/{alternatives((*BODY_PATHS, *FORM_PATHS))}"
_LARGEST = 2**53  # beyond it a number does not pass through JSON, where all are floating point, unchanged
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 1.0


def routes(plan: GatewayPlan) -> Json:
    """The content of the routes file. Keys stand in it as placeholders; `with_keys` puts their values in."""
    table = [
        _too_large(plan),
        _health(),
        *_lists(plan),
        *(_by_body(plan, model) for model in plan.models),
        *(_by_path(plan, model) for model in plan.models),
        *_refusals(plan),
    ]
    host: Json = {
        "name": "openai",
        "domains": ["*"],
        "routes": table,
        "request_body_buffer_limit": int(plan.max_body),
        "typed_per_filter_config": {API_KEY_AUTH: _off() if plan.open else _keys(plan.keys)},
    }
    largest = max(len(_text_of(route)) for route in table)
    return response(
        [
            typed(
                ROUTES,
                name=ROUTES_NAME,
                virtual_hosts=[host],
                max_direct_response_body_size_bytes=max(4096, 2 * largest),
            ),
        ],
    )


def placeholder(key: str) -> str:
    """What stands in the routes in place of the value of a key."""
    return f"${{key:{key}}}"


def retries(hold_limit_s: float) -> int:
    """How often a request that finds nobody at home knocks again until the hold has lasted too long.

    Envoy counts attempts, not seconds. It waits a random time below a bound that doubles up to its largest, so n
    attempts last n * bound / 2 on average and, over the hundreds of a hold, within a few percent of that.
    """
    waits = 0
    bound, spent = _FIRST_WAIT_S, 0.0
    while bound < _LONGEST_WAIT_S and spent < hold_limit_s:
        spent += bound / 2
        bound *= 2
        waits += 1
    return max(1, waits + math.ceil(max(0.0, hold_limit_s - spent) / (_LONGEST_WAIT_S / 2)))


def _too_large(plan: GatewayPlan) -> Json:
    """Refuses by the announced length, before a byte is read; a body of unknown length meets the buffer's limit."""
    sizes = {"start": int(plan.max_body) + 1, "end": _LARGEST}
    return {
        "name": "too-large",
        "match": {"prefix": "/", "headers": [{"name": "content-length", "range_match": sizes}]},
        **direct(413, error("The request body is too large.", _INVALID, "request_too_large")),
    }


def _health() -> Json:
    return {
        "name": "health",
        "match": {"path": "/health"},
        **direct(200, {"status": "ok"}),
        "typed_per_filter_config": {API_KEY_AUTH: _off()},
    }


def _lists(plan: GatewayPlan) -> list[Json]:
    """The models list, the same for one model by its path, and each entry by its id."""
    found = [_get("models", {"path": "/v1/models"}, models_list(plan.models))]
    for model in plan.models:
        names = _any_name(model)
        found.append(
            _get(f"models of {model.name}", {"safe_regex": {"regex": f"/m/{names}/v1/models"}}, models_list((model,)))
        )
        found.extend(
            _get(
                f"model {entry['id']}",
                {"safe_regex": {"regex": f"(?:/m/{names})?/v1/models/{name_in_path(entry['id'])}"}},
                entry,
            )
            for entry in entries(model)
        )
    return found


def _get(name: str, match: Json, body: Json) -> Json:
    return {"name": name, "match": match, **direct(200, body)}


def _by_body(plan: GatewayPlan, model: ModelRoute) -> Json:
    values = [{"string_match": {"exact": name}} for name in served_names(model)]
    value: Json = values[0] if len(values) == 1 else {"or_match": {"value_matchers": values}}
    return {
        "name": f"body {model.name}",
        "match": {"safe_regex": {"regex": _BODY_PATH}, "dynamic_metadata": [_body_has("model", value)]},
        **_forward(plan, model),
    }


def _by_path(plan: GatewayPlan, model: ModelRoute) -> Json:
    """`/m/<model>/v1/…`: the model is known from the path, so nothing waits for the body."""
    start = f"/m/{_any_name(model)}"
    route = _forward(plan, model)
    route["route"]["regex_rewrite"] = {"pattern": {"regex": f"^{start}/v1/"}, "substitution": "/v1/"}
    return {"name": f"path {model.name}", "match": {"safe_regex": {"regex": f"{start}{_MODEL_PATH}"}}, **route}


def _forward(plan: GatewayPlan, model: ModelRoute) -> Json:
    return {
        "metadata": {"filter_metadata": {ROUTE_NAMESPACE: {"model": model.name}}},
        "route": {**_target(model), **_patience(plan)},
    }


def _target(model: ModelRoute) -> Json:
    """One cluster, or several by their percent. A revision of 0 percent has its cluster and no traffic."""
    shares = [share for share in model.revisions if share.percent > 0] or list(model.revisions[:1])
    if len(shares) == 1:
        return {"cluster": cluster_name(model.name, shares[0].revision)}
    return {
        "weighted_clusters": {
            "clusters": [
                {"name": cluster_name(model.name, share.revision), "weight": share.percent} for share in shares
            ],
        },
    }


def _patience(plan: GatewayPlan) -> Json:
    """How long a request may take and how often it may knock.

    A generation has no time limit, only silence has one: `idle_timeout_s` per attempt, and for the whole request also
    the hold before it. It knocks again only where no engine has seen the request, so that nothing is generated twice.
    """
    return {
        "timeout": "0s",
        "idle_timeout": f"{plan.idle_timeout_s + plan.hold_limit_s:g}s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": retries(plan.hold_limit_s),
            "per_try_idle_timeout": f"{plan.idle_timeout_s:g}s",
            "retry_back_off": {"base_interval": f"{_FIRST_WAIT_S:g}s", "max_interval": f"{_LONGEST_WAIT_S:g}s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                },
            ],
            "host_selection_retry_max_attempts": 3,
        },
    }


def _refusals(plan: GatewayPlan) -> list[Json]:
    """What remains: a wrong body, an unknown model, a path that is not OpenAI's."""
    body = {"safe_regex": {"regex": _BODY_PATH}}
    served = ", ".join(all_names(plan)) or "none"
    asked = f"%DYNAMIC_METADATA({BODY_NAMESPACE}:model)%"
    unknown = "The model {asked} does not exist; served: {served}."
    return [
        {
            "name": "body unreadable",
            "match": {
                **body,
                "dynamic_metadata": [_body_has("problem", {"string_match": {"exact": PROBLEM_UNREADABLE}})],
            },
            **direct(400, error("The body is not a JSON object.", _INVALID, "invalid_json")),
        },
        {
            "name": "unknown model",
            "match": {**body, "dynamic_metadata": [_body_has("model", {"present_match": True})]},
            **direct_filled(
                404,
                error(unknown.format(asked=asked, served=literal(served)), _INVALID, "model_not_found", "model"),
            ),
        },
        {
            "name": "body without model",
            "match": {**body, "dynamic_metadata": [_body_has("read", {"present_match": True})]},
            **direct(400, error(f"The body names no model; served: {served}.", _INVALID, "missing_model", "model")),
        },
        {
            # Every request with a JSON body meets this route first and never again: after the body was read, one of
            # those above matches. It forwards to nowhere rather than answer, because only a route that forwards has
            # a limit for what is buffered.
            "name": "body",
            "match": {
                **body,
                "headers": [{"name": "content-type", "string_match": {"safe_regex": {"regex": JSON_TYPE}}}],
            },
            "route": {"cluster": NOWHERE_CLUSTER},
            "typed_per_filter_config": {JSON_TO_METADATA: _on()},
        },
        {
            "name": "body of another type",
            "match": body,
            **direct(
                415,
                error(
                    "The body must be JSON: send Content-Type: application/json, or use the path /m/MODEL/v1/….",
                    _INVALID,
                    "unsupported_media_type",
                ),
            ),
        },
        {
            "name": "unknown model in path",
            "match": {"safe_regex": {"regex": "(?:/m/.*|/v1/models/.+)"}},
            **direct(
                404,
                error(unknown.format(asked="in the path", served=served), _INVALID, "model_not_found", "model"),
            ),
        },
        {
            "name": "unknown path",
            "match": {"prefix": "/"},
            **direct(404, error("No such path; see /v1/models.", _INVALID, "unknown_url")),
        },
    ]


def _any_name(model: ModelRoute) -> str:
    return f"(?:{'|'.join(name_in_path(name) for name in served_names(model))})"


def _body_has(key: str, value: Json) -> Json:
    return {"filter": BODY_NAMESPACE, "path": [{"key": key}], "value": value}


def _keys(keys: tuple[KeyPlan, ...]) -> Json:
    return typed(
        "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute",
        credentials=[{"key": placeholder(key.name), "client": key.name} for key in keys],
        key_sources=[{"header": "authorization"}],
        forwarding={"header": CLIENT_HEADER, "hide_credentials": True},
    )


def _off() -> Json:
    return typed("envoy.config.route.v3.FilterConfig", disabled=True)


def _on() -> Json:
    return typed("envoy.config.route.v3.FilterConfig", config={})


def _text_of(route: Json) -> str:
    answer: Any = route.get("direct_response", {})
    return str(answer.get("body", answer.get("body_format", "")))
