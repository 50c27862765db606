"""What each client may: its own models, its requests a minute, its requests at a time.

The client is known when its key was checked, which happens after the first look at the routes. So where routes ask for
the client, a filter behind the keys lets Envoy look at them again. Requests at a time are counted by Envoy's own
circuit breaker, which counts for a cluster: a client that has such a limit has a cluster of its own for each revision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from berth.gateway.names import CLIENT_HEADER, CLIENT_KNOWN, LIMIT_HEADER, LIMITS
from berth.gateway.xds import Json, typed
from berth.planner.plan import GatewayPlan, KeyPlan, ModelRoute

_RATE_LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_WHOLE = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_NO_LIMIT = {"max_tokens": 2**31, "tokens_per_fill": 2**31, "fill_interval": "1s"}


def may_use(key: KeyPlan, model: ModelRoute) -> bool:
    """Whether the client has a right to the model."""
    return not key.models or model.name in key.models


def allowed(plan: GatewayPlan, model: ModelRoute) -> list[Json]:
    """What a route of the model asks of the headers so that clients without a right to it pass by."""
    denied = [key.name for key in plan.keys if not may_use(key, model)]
    return [{**_is_one_of(denied), "invert_match": True}] if denied else []


def counted(plan: GatewayPlan, model: ModelRoute) -> Iterator[tuple[KeyPlan, Json]]:
    """The clients whose requests to the model are counted, and what a route of theirs asks of the headers."""
    for key in plan.keys:
        if key.concurrent is not None and may_use(key, model):
            yield key, _is_one_of([key.name])


def views(plan: GatewayPlan) -> Iterator[tuple[list[Json], tuple[ModelRoute, ...]]]:
    """The models as clients see them: what routes ask of the headers, most particular first, and the models."""
    sets: dict[tuple[str, ...], list[str]] = {}
    for key in plan.keys:
        if key.models:
            sets.setdefault(key.models, []).append(key.name)
    for names, clients in sets.items():
        yield [_is_one_of(clients)], tuple(model for model in plan.models if model.name in names)
    yield [], plan.models


def most_of(key: KeyPlan, percent: int) -> int:
    """How many requests at a time a revision takes from a counted client: its part of the traffic, at least one."""
    return max(1, math.ceil((key.concurrent or 0) * percent / 100))


def filters(plan: GatewayPlan) -> Json:
    """What the routes turn on for all requests."""
    found: Json = {}
    if any(key.models or key.concurrent is not None for key in plan.keys):
        found[CLIENT_KNOWN] = typed("envoy.config.route.v3.FilterConfig", config={})
    minutes = [(key.name, key.requests_per_minute) for key in plan.keys if key.requests_per_minute is not None]
    if minutes:
        found[LIMITS] = _requests_a_minute(minutes)
    return found


def limits_filter() -> Json:
    """The listener's part of counting requests a minute: off until routes give it limits."""
    return {"name": LIMITS, "disabled": True, "typed_config": typed(_RATE_LIMIT, stat_prefix="limits")}


def client_known_filter() -> Json:
    """The filter that lets the routes be tried again; it also keeps the client's name, since it must keep something."""
    return {
        "name": CLIENT_KNOWN,
        "disabled": True,
        "typed_config": typed(
            "envoy.extensions.filters.http.set_filter_state.v3.Config",
            clear_route_cache=True,
            on_request_headers=[
                {
                    "object_key": "berth.client",
                    "factory_key": "envoy.string",
                    "format_string": {"text_format_source": {"inline_string": f"%REQ({CLIENT_HEADER})%"}},
                },
            ],
        ),
    }


def _requests_a_minute(limits: list[tuple[str, int]]) -> Json:
    def bucket(most: int) -> Json:
        return {"max_tokens": most, "tokens_per_fill": most, "fill_interval": "60s"}

    return typed(
        _RATE_LIMIT,
        stat_prefix="limits",
        filter_enabled=_WHOLE,
        filter_enforced=_WHOLE,
        token_bucket=_NO_LIMIT,
        # Each client has its own bucket and no share in a common one.
        always_consume_default_token_bucket=False,
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        rate_limits=[{"actions": [{"request_headers": {"header_name": CLIENT_HEADER, "descriptor_key": "client"}}]}],
        descriptors=[
            {"entries": [{"key": "client", "value": name}], "token_bucket": bucket(most)} for name, most in limits
        ],
        response_headers_to_add=[
            _by_client(LIMIT_HEADER, limits),
            # The bucket fills all the time, so that the next request may come after its part of a minute.
            _by_client("retry-after", [(name, math.ceil(60 / most)) for name, most in limits]),
        ],
    )


def _by_client(header: str, values: list[tuple[str, int]]) -> Json:
    """A header of the refusal with a number of each client's own."""
    known = ", ".join(f"'{name}': '{value}'" for name, value in values)
    return {"header": {"key": header, "value": f"%CEL({{{known}}}[request.headers['{CLIENT_HEADER}']])%"}}


def _is_one_of(clients: list[str]) -> Json:
    if len(clients) == 1:
        return {"name": CLIENT_HEADER, "string_match": {"exact": clients[0]}}
    regex = "|".join(re.escape(client) for client in clients)
    return {"name": CLIENT_HEADER, "string_match": {"safe_regex": {"regex": regex}}}
