"""What watches a stack, and where: beside its gateway, since all that is measured listens on that host's loopback."""

from __future__ import annotations

from typing import Final

from berth.planner.plan import MonitoringPlan, MonitorPlan
from berth.spec.gateway import GpuExporter, Grafana, Prometheus
from berth.spec.stack import Stack

GPU_IMAGE: Final = "nvcr.io/nvidia/k8s/dcgm-exporter:4.6.0-4.8.3-distroless"
"""NVIDIA's documentation of dcgm-exporter for Docker (August 2026)."""

PROMETHEUS_IMAGE: Final = "prom/prometheus:v3.5.0"
"""A release with long-term support, as Prometheus' release page says."""

GRAFANA_IMAGE: Final = "grafana/grafana:12.1.0"


def monitoring(stack: Stack) -> MonitoringPlan | None:
    """What watches the stack; None where nothing is asked for or there is no host for it."""
    said, host = stack.monitoring, host_of(stack)
    if host is None or (said.gpu, said.prometheus, said.grafana) == (None, None, None):
        return None
    return MonitoringPlan(
        host=host,
        gpu=_part(said.gpu, GPU_IMAGE),
        prometheus=_part(said.prometheus, PROMETHEUS_IMAGE),
        grafana=_part(said.grafana, GRAFANA_IMAGE),
        retention_s=said.prometheus.retention if said.prometheus is not None else 0,
    )


def host_of(stack: Stack) -> str | None:
    """The gateway's host or cluster, else the only one."""
    if stack.gateway is not None:
        return stack.gateway.host
    all_of_them = [*stack.hosts, *stack.clusters]
    return all_of_them[0] if len(all_of_them) == 1 else None


def _part(said: GpuExporter | Prometheus | Grafana | None, image: str) -> MonitorPlan | None:
    return None if said is None else MonitorPlan(image=said.image or image, port=said.port)
