"""The routes (RDS): which request goes to which revision of which model, and who may ask.

The order matters. A request to one of OpenAI's paths first meets the route that reads its body, at the end; the model
found there clears the choice, and the routes are tried again from the top, now with the model known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from berth.gateway import clients
from berth.gateway.clients import views
from berth.gateway.errors import direct, overloaded, too_many
from berth.gateway.models_list import entries, models_list
from berth.gateway.names import (
    API_KEY_AUTH,
    BODY_PATHS,
    CLIENT_HEADER,
    FORM_PATHS,
    REVISION_HEADER,
    ROUTE_NAMESPACE,
    ROUTES_NAME,
    SERVED_BY_HEADER,
    STATUS_CLUSTER,
    alternatives,
    client_cluster,
    cluster_name,
    name_in_path,
    served_names,
)
from berth.gateway.refusals import body_has, refusals, too_large, with_headers
from berth.gateway.xds import ROUTES, Json, response, typed
from berth.planner.plan import GatewayPlan, KeyPlan, ModelRoute, RevisionShare, revision_name

_BODY_PATH = f"/v1/{alternatives(BODY_PATHS)}"
_MODEL_PATH = f"/(?:v1/{alternatives((*BODY_PATHS, *FORM_PATHS))}|health)"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 1.0


def routes(plan: GatewayPlan) -> Json:
    """The content of the routes file. Keys stand in it as placeholders; `with_keys` puts their values in."""
    table = [
        too_large(plan),
        _health(),
        *_lists(plan),
        *(route for model in plan.models for route in _by_body(plan, model)),
        *(route for model in plan.models for route in _by_path(plan, model)),
        *refusals(plan, _BODY_PATH),
    ]
    host: Json = {
        "name": "openai",
        "domains": ["*"],
        "routes": table,
        "request_body_buffer_limit": int(plan.max_body),
        "typed_per_filter_config": {API_KEY_AUTH: _off() if plan.open else _keys(plan.keys), **clients.filters(plan)},
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


def _health() -> Json:
    """What the watcher says of the models; asked of the metrics listener, whose routes are the watcher's to write."""
    return {
        "name": "health",
        "match": {"path": "/health"},
        "route": {"cluster": STATUS_CLUSTER, "timeout": "5s"},
        "typed_per_filter_config": {API_KEY_AUTH: _off()},
    }


def _lists(plan: GatewayPlan) -> list[Json]:
    """The models list as each client sees it, the same for one model by its path, and each entry by its id."""
    found = [_get("models", {"path": "/v1/models"}, models_list(models), asked) for asked, models in views(plan)]
    for model in plan.models:
        start, mine = _start(model), clients.allowed(plan, model)
        found.append(
            _get(
                f"models of {model.name}", {"safe_regex": {"regex": f"{start}/v1/models"}}, models_list((model,)), mine
            )
        )
        found.extend(
            _get(
                f"model {entry['id']}",
                {"safe_regex": {"regex": f"(?:{start})?/v1/models/{name_in_path(entry['id'])}"}},
                entry,
                mine,
            )
            for entry in entries(model)
        )
    return found


def _get(name: str, match: Json, body: Json, headers: list[Json]) -> Json:
    return {"name": name, "match": with_headers(match, headers), **direct(200, body)}


def _by_body(plan: GatewayPlan, model: ModelRoute) -> Iterator[Json]:
    """By the name in the body: the model's, or `<model>@<revision>`; the two are one where there is one revision."""
    revisions = [(revision_name(model.name, share.revision), (share,)) for share in model.revisions]
    if len(revisions) > 1:
        for name, share in revisions:
            for headers, forward in _forwards(plan, model, share):
                yield {"name": f"body {name}", "match": with_headers(_body(name), headers), **forward}
    names = (*served_names(model), *(name for name, _ in revisions if len(revisions) == 1))
    for headers, forward in _forwards(plan, model):
        yield {"name": f"body {model.name}", "match": with_headers(_body(*names), headers), **forward}


def _body(*names: str) -> Json:
    """A request whose body names one of these; only the paths whose body is read have a model."""
    values = [{"string_match": {"exact": name}} for name in names]
    value: Json = values[0] if len(values) == 1 else {"or_match": {"value_matchers": values}}
    return {"prefix": "/v1/", "dynamic_metadata": [body_has("model", value)]}


def _by_path(plan: GatewayPlan, model: ModelRoute) -> Iterator[Json]:
    """`/m/<model>/v1/…` and the model's own prefix: the model is known, so nothing waits for the body.

    A model that the body names besides is for the engine to check, which serves this one alone.
    """
    revisions = [(f"/m/{name_in_path(revision_name(model.name, one.revision))}", (one,)) for one in model.revisions]
    for start, shares in (*revisions, (_start(model), model.revisions)):
        match = {"safe_regex": {"regex": f"{start}{_MODEL_PATH}"}}
        for headers, forward in _forwards(plan, model, shares):
            forward["route"]["regex_rewrite"] = {"pattern": {"regex": f"^{start}/"}, "substitution": "/"}
            yield {"name": f"path {model.name}", "match": with_headers(match, headers), **forward}


def _forwards(
    plan: GatewayPlan, model: ModelRoute, among: Sequence[RevisionShare] = ()
) -> Iterator[tuple[list[Json], Json]]:
    """What routes to the model ask of the headers and where they lead: counted clients first, then all others.

    A revision that is asked for by the header comes before what the percentages give; `among` are all that the request
    has left open, without any of them all of the model.
    """
    among = among or model.revisions
    named = among if len(among) > 1 else ()
    for shares, asked in (*(((share,), [_asks_for(share)]) for share in named), (among, [])):
        for key, is_client in clients.counted(plan, model):
            said = too_many(model.name, key.concurrent or 0)
            yield [is_client, *asked], _forward(plan, model, shares, key, said)
        allowed = clients.allowed(plan, model)
        yield [*allowed, *asked], _forward(plan, model, shares, None, overloaded(model.name))


def _asks_for(share: RevisionShare) -> Json:
    return {"name": REVISION_HEADER, "string_match": {"exact": share.revision}}


def _forward(
    plan: GatewayPlan, model: ModelRoute, among: Sequence[RevisionShare], key: KeyPlan | None, said: Json
) -> Json:
    target = _target(model, among, key)
    # The shares are for the watcher; in the clusters they would make Envoy build those anew at each change of weights.
    shares = {"shares": {share.revision: share.percent for share in model.revisions}}
    found: Json = {
        "metadata": {"filter_metadata": {ROUTE_NAMESPACE: {"model": model.name, **said, **shares}}},
        "route": {**target, **_patience(plan)},
    }
    if "cluster" in target:
        found["response_headers_to_add"] = [_served_by(target["cluster"])]
    return found


def _served_by(cluster: str) -> Json:
    """Says which revision has answered; the cluster's name without the client that it may be for."""
    header = {"key": SERVED_BY_HEADER, "value": cluster.partition("+")[0]}
    return {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _target(model: ModelRoute, among: Sequence[RevisionShare], key: KeyPlan | None) -> Json:
    """One cluster, or several by their percent. A revision of 0 percent has its cluster and no traffic."""

    def cluster(share: RevisionShare) -> str:
        name = cluster_name(model.name, share.revision)
        return name if key is None else client_cluster(name, key.name)

    shares = [share for share in among if share.percent > 0] or list(among[:1])
    if len(shares) == 1:
        return {"cluster": cluster(shares[0])}
    return {
        "weighted_clusters": {
            "clusters": [
                {
                    "name": cluster(share),
                    "weight": share.percent,
                    "response_headers_to_add": [_served_by(cluster(share))],
                }
                for share in shares
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


def _start(model: ModelRoute) -> str:
    """A regular expression for what comes before the path that the engine is asked."""
    by_name = f"/m/(?:{'|'.join(name_in_path(name) for name in served_names(model))})"
    if model.path_prefix is None:
        return by_name
    return f"(?:{by_name}|{re.escape(model.path_prefix.rstrip('/'))})"


def _keys(keys: tuple[KeyPlan, ...]) -> Json:
    return typed(
        "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute",
        credentials=[{"key": placeholder(key.name), "client": key.name} for key in keys],
        # The second is what Anthropic's clients send, and the only one that the API server of a cluster hands on.
        key_sources=[{"header": "authorization"}, {"header": "x-api-key"}],
        forwarding={"header": CLIENT_HEADER, "hide_credentials": True},
    )


def _off() -> Json:
    return typed("envoy.config.route.v3.FilterConfig", disabled=True)


def _text_of(route: Json) -> str:
    answer: Any = route.get("direct_response", {})
    return str(answer.get("body", answer.get("body_format", "")))
