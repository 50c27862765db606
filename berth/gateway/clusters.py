"""The clusters (CDS): one for each revision of a model, with how its engines are reached and watched.

A client whose requests at a time are counted has one of its own for each revision, with the same engines.
"""

from __future__ import annotations

from berth.gateway.clients import counted, most_of
from berth.gateway.names import client_cluster, cluster_name, endpoints_file
from berth.gateway.xds import CLUSTER, Json, file_source, response, typed
from berth.planner.plan import GatewayPlan, RevisionShare

HEALTH_PATH = "/health"
"""What vLLM, SGLang and TGI all answer with 200 when they are able to serve."""

_QUEUE_FACTOR = 4
_QUEUE_LEAST = 256
# uvicorn closes a connection that was idle for 5 s, and a request that is on its way then is lost: take no connection
# that is older. An idle timeout of 4 s would do too, but Envoy also ends health checks by it, so that a busy engine
# whose /health takes longer would be taken for dead.
_OLDEST_CONNECTION_S = 4


def clusters(plan: GatewayPlan, folder: str) -> Json:
    """The content of the clusters file."""
    found = []
    for model in plan.models:
        for share in model.revisions:
            name = cluster_name(model.name, share.revision)
            one = _cluster(name, name, share, most_requests(share.max_concurrency), folder)
            about = {"model": model.name, "revision": share.revision}  # for the watcher, who says which models are up
            found.append({**one, "metadata": {"filter_metadata": {"berth": about}}})
            for key, _ in counted(plan, model):
                own = client_cluster(name, key.name)
                found.append(_cluster(own, name, share, most_of(key, share.percent), folder))
    return response(found)


def between(have: Json, want: Json) -> Json:
    """The clusters of both files, those of `want` where they differ.

    A request must never meet a route whose cluster is missing: publish this first, then the routes, then `want`.
    """
    wanted = {cluster["name"] for cluster in want["resources"]}
    gone = [cluster for cluster in have["resources"] if cluster["name"] not in wanted]
    return response([*want["resources"], *gone])


def stat_name(cluster: str) -> str:
    """The name of a cluster in Envoy's numbers, where a dot would end it and a colon becomes an underscore anyway."""
    return cluster.replace(".", "_").replace(":", "_")


def most_requests(max_concurrency: int) -> int:
    """How many requests a revision takes at once before the gateway answers 429.

    Those that the engines work on, and a queue of thrice as many that waits inside them. Even a small engine may have
    as many as a few requests a second amount to while it is replaced, since all that were on hold arrive at once.
    """
    return max(_QUEUE_LEAST, _QUEUE_FACTOR * max_concurrency)


def _cluster(name: str, engines: str, share: RevisionShare, most: int, folder: str) -> Json:
    """A cluster of the engines that one endpoints file names."""
    cluster = typed(
        CLUSTER,
        name=name,
        alt_stat_name=stat_name(name),
        type="EDS",
        eds_cluster_config={"service_name": engines, "eds_config": file_source(folder, endpoints_file(engines))},
        connect_timeout="2s",
        load_balancing_policy={"policies": [{"typed_extension_config": _least_request()}]},
        # An endpoint that was taken out is out, healthy or not; and when all are sick, say so instead of guessing.
        ignore_health_on_host_removal=True,
        # Changes of health reach the workers at once; by default they follow a change of endpoints a second later, and
        # the admin interface shows an engine as healthy that the workers do not use yet.
        common_lb_config={"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        circuit_breakers={"thresholds": [_limits(most)]},
        health_checks=[_health_check()],
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                explicit_http_config={"http_protocol_options": {}},
                common_http_protocol_options={"max_connection_duration": f"{_OLDEST_CONNECTION_S}s"},
            ),
        },
    )
    if len(share.replicas) > 1:
        cluster["outlier_detection"] = _outliers()
    return cluster


def _least_request() -> Json:
    """The engine with the fewest requests of all: the default, two random picks, errs in a quarter of two's cases."""
    return {
        "name": "envoy.load_balancing_policies.least_request",
        "typed_config": typed(
            "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
            selection_method="FULL_SCAN",
        ),
    }


def _limits(most: int) -> Json:
    """Only the requests count; each of them may be on hold at the same time.

    HTTP/1.1 needs a connection for each. With as few connections as requests, those over the limit would wait here
    for a connection instead of being refused.
    """
    return {
        "max_connections": 2 * most,
        "max_pending_requests": 2 * most,
        "max_requests": most,
        "max_retries": most,
        "track_remaining": True,
    }


def _health_check() -> Json:
    """A dead engine refuses the connection at once: out after two checks, within 4 s. A busy one may take its time."""
    return {
        "http_health_check": {"path": HEALTH_PATH},
        "timeout": "15s",
        "interval": "2s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "unhealthy_interval": "1s",
        # Both default to a minute while nobody has asked for the model yet.
        "no_traffic_interval": "2s",
        "no_traffic_healthy_interval": "2s",
        "reuse_connection": False,
    }


def _outliers() -> Json:
    """Only with a second replica to go to, and only for answers that no engine gives on purpose."""
    return {
        "consecutive_gateway_failure": 5,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "base_ejection_time": "10s",
        "max_ejection_percent": 50,
    }
