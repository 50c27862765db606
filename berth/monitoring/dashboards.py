"""The dashboards of a stack as Grafana reads them: its models, its cards, its clients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from berth.monitoring.measures import Measure
from berth.monitoring.queries import OF_MODELS, gpu, gpu_memory_share, highest, quantile, rate, responses, total
from berth.planner.plan import Plan

SOURCE = "berth-prometheus"
"""The id of the data source that the stack's Grafana is given."""

Line = tuple[str, str | None]
"""A legend and a question; a question that no engine of the stack answers is left out."""


def dashboards(plan: Plan, *, gpu: bool) -> dict[str, dict[str, Any]]:
    """Each dashboard by its file's name, as plain JSON values."""
    found = {"models.json": _models(plan)}
    if plan.gateway is not None:
        found["clients.json"] = _clients(plan)
    if gpu:
        found["gpus.json"] = _gpus(plan)
    return found


def _models(plan: Plan) -> dict[str, Any]:
    return _board(
        plan,
        "models",
        [
            _panel(
                "Time to first token",
                "s",
                ("{{model}} p50", quantile(plan, Measure.FIRST_TOKEN, 0.5)),
                ("{{model}} p95", quantile(plan, Measure.FIRST_TOKEN, 0.95)),
            ),
            _panel(
                "Time between tokens",
                "s",
                ("{{model}} p50", quantile(plan, Measure.INTER_TOKEN, 0.5)),
                ("{{model}} p95", quantile(plan, Measure.INTER_TOKEN, 0.95)),
            ),
            _panel(
                "Tokens a second",
                "short",
                ("{{model}} generated", rate(plan, Measure.GENERATED_TOKENS)),
                ("{{model}} prompt", rate(plan, Measure.PROMPT_TOKENS)),
            ),
            _panel(
                "Requests",
                "short",
                ("{{model}} running", total(plan, Measure.RUNNING)),
                ("{{model}} waiting", total(plan, Measure.WAITING)),
            ),
            _panel("KV cache in use", "percentunit", ("{{replica}}", highest(plan, Measure.KV_USAGE, "replica"))),
            _panel("Whole answers", "s", ("{{model}} p95", quantile(plan, Measure.END_TO_END, 0.95))),
            _panel("Waiting for a place", "s", ("{{model}} p95", quantile(plan, Measure.QUEUE_TIME, 0.95))),
            _panel("Begun again for want of memory", "short", ("{{model}}", rate(plan, Measure.PREEMPTIONS))),
        ],
    )


def _clients(plan: Plan) -> dict[str, Any]:
    return _board(
        plan,
        "clients",
        [
            _panel(
                "Answers a second", "reqps", ("{{envoy_cluster_name}} {{envoy_response_code_class}}xx", responses())
            ),
            _panel(
                "Requests in flight",
                "short",
                (
                    "{{envoy_cluster_name}}",
                    f"sum by (envoy_cluster_name) (envoy_cluster_upstream_rq_active{OF_MODELS})",
                ),
            ),
            _panel(
                "Replicas in rotation",
                "short",
                (
                    "{{envoy_cluster_name}}",
                    f"max by (envoy_cluster_name) (envoy_cluster_membership_healthy{OF_MODELS})",
                ),
            ),
        ],
    )


def _gpus(plan: Plan) -> dict[str, Any]:
    return _board(
        plan,
        "gpus",
        [
            _panel("Memory in use", "percentunit", ("GPU {{gpu}}", gpu_memory_share())),
            _panel("Power", "watt", ("GPU {{gpu}}", gpu("POWER_USAGE"))),
            _panel("Temperature", "celsius", ("GPU {{gpu}}", gpu("GPU_TEMP"))),
            _panel("Busy (a kernel ran)", "percent", ("GPU {{gpu}}", gpu("GPU_UTIL"))),
            _panel("Last Xid (0 is none)", "none", ("GPU {{gpu}}", gpu("XID_ERRORS"))),
        ],
    )


def _panel(title: str, unit: str, *lines: Line) -> timeseries.Panel | None:
    """One graph; None where the stack's engines have nothing for it."""
    asked = [(legend, question) for legend, question in lines if question is not None]
    if not asked:
        return None
    panel = timeseries.Panel().title(title).unit(unit).min(0)
    for number, (legend, question) in enumerate(asked):
        query = prometheus.Dataquery().expr(question).legend_format(legend).ref_id(chr(ord("A") + number))
        panel = panel.with_target(query)
    return panel.datasource(models.DataSourceRef(type_val="prometheus", uid=SOURCE))


def _board(plan: Plan, name: str, panels: Sequence[timeseries.Panel | None]) -> dict[str, Any]:
    board = (
        boards.Dashboard(f"{plan.stack}: {name}")
        .uid(f"berth-{plan.stack}-{name}")
        .tags(["berth"])
        .refresh("10s")
        .time("now-1h", "now")
        .readonly()
    )
    for panel in panels:
        if panel is not None:
            board = board.with_panel(panel)
    built: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(board.build()))
    return built
