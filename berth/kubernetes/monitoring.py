"""What the cluster's Prometheus Operator and Grafana are told: where to measure, when to call, what to show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from berth.engines.contract import Engine
from berth.kubernetes.edge import object_name
from berth.kubernetes.services import LLM_PODS, Service, labels
from berth.kubernetes.values import MODEL_LABEL, REVISION_LABEL, STACK_LABEL, Object, metadata
from berth.monitoring import dashboards, rules
from berth.planner.plan import ClusterPlan, Plan

DASHBOARD_LABEL: Final = "grafana_dashboard"
"""By which the sidecar of Grafana's chart finds the ConfigMaps that hold dashboards."""

_API = "monitoring.coreos.com/v1"
_INTERVAL = "15s"  # a cluster's Prometheus has more to do than a host's own


def monitoring(plan: Plan, cluster: ClusterPlan, services: Sequence[Service]) -> Iterator[Object]:
    """The objects of the monitoring that the stack asks for on this cluster."""
    said = plan.monitoring
    if said is None or said.host != cluster.name:
        return
    about = {**labels(plan.stack)}

    def named(part: str, more: dict[str, str] | None = None) -> Object:
        return metadata(object_name(plan.stack, part), cluster.namespace, {**about, **(more or {})})

    if said.prometheus is not None:
        for kind, port in dict.fromkeys((service.pod.service, service.port) for service in services):
            part = "engines" if kind == "inference" else "llm-engines"
            yield _monitor(named(part), "engines", _engines(plan, kind), Engine.metrics_path, {"targetPort": port})
        if plan.gateway is not None and plan.gateway.host == cluster.name:
            selector = {"matchLabels": {"app.kubernetes.io/name": object_name(plan.stack, "gateway")}}
            yield _monitor(named("gateway"), "gateway", selector, "/metrics", {"port": "metrics"})
        yield _alerts(plan, cluster, named("alerts"), gpu=said.gpu is not None)
    if said.grafana is not None:
        for file, board in dashboards(plan, gpu=said.gpu is not None).items():
            part = f"dashboard-{file.removesuffix('.json')}"
            data = {f"{object_name(plan.stack, part)}.json": json.dumps(board)}
            about_board = named(part, {DASHBOARD_LABEL: "1"})
            yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about_board, "data": data}


def _engines(plan: Plan, kind: str) -> Object:
    """The pods that KServe made of the stack's services of one kind."""
    mine = {STACK_LABEL: plan.stack}
    if kind == "llm":
        return {"matchLabels": {**mine, **LLM_PODS}}
    marked = {"key": "serving.kserve.io/inferenceservice", "operator": "Exists"}
    return {"matchLabels": mine, "matchExpressions": [marked]}


def _monitor(about: Object, job: str, selector: Object, path: str, port: dict[str, Any]) -> Object:
    """Pods of one kind; their numbers get the same labels as on other runtimes, which rules and dashboards ask for."""
    return {
        "apiVersion": _API,
        "kind": "PodMonitor",
        "metadata": about,
        "spec": {
            "selector": selector,
            "podMetricsEndpoints": [
                {
                    **port,
                    "path": path,
                    "interval": _INTERVAL,
                    "relabelings": [
                        {"targetLabel": "job", "replacement": job},
                        _label(MODEL_LABEL, "model"),
                        _label(REVISION_LABEL, "revision"),
                        {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "replica"},
                        {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "host"},
                    ],
                }
            ],
        },
    }


def _label(name: str, target: str) -> Object:
    word = "".join(letter if letter.isalnum() else "_" for letter in name)
    return {"sourceLabels": [f"__meta_kubernetes_pod_label_{word}"], "targetLabel": target}


def _alerts(plan: Plan, cluster: ClusterPlan, about: Object, *, gpu: bool) -> Object:
    spec = rules(plan, cluster.name, gpu=gpu, standing=1)
    return {"apiVersion": _API, "kind": "PrometheusRule", "metadata": about, "spec": spec}
