"""The alert rules of a stack. Each says what is wrong, where, and what to do; none is for what heals by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from berth.monitoring.measures import Measure
from berth.monitoring.queries import (
    BLANK,
    SERIOUS_XIDS,
    gpu,
    gpu_memory_share,
    highest,
    quantile,
    rate,
    reported,
    total,
)
from berth.planner.plan import Plan

_FIRST_TOKEN_S = 10.0
"""A person gives up waiting for the first word about then (Nielsen's limit for keeping attention)."""

_HOTTEST_C = 88
"""Data-center and GeForce cards slow themselves from 83 to 90 degrees on."""


@dataclass(frozen=True)
class _Alert:
    """When it fires (`expression`, for so long), how much it matters, what it says."""

    name: str
    expression: str
    lasting: str
    severity: Literal["page", "ticket"]
    summary: str
    what_to_do: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """As a rule file has it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasting,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {"summary": self.summary, "description": self.what_to_do},
        }


def rules(plan: Plan, host: str, *, gpu: bool, standing: int = 0) -> dict[str, Any]:
    """Prometheus' rule file for one host; YAML takes it as it is.

    `standing` is how many members of each of the gateway's clusters are no engines: on Kubernetes there is one, which
    requests wait behind.
    """
    groups = [{"name": "engines", "rules": _written(_engines(plan))}]
    if plan.gateway is not None and plan.gateway.host == host:
        groups.append({"name": "gateway", "rules": _written(_gateway(standing))})
    if gpu:
        groups.append({"name": "gpus", "rules": _written(_gpus())})
    return {"groups": groups}


def _written(alerts: Iterator[_Alert]) -> list[dict[str, Any]]:
    return [alert.written() for alert in alerts]


def _engines(plan: Plan) -> Iterator[_Alert]:
    yield _Alert(
        "EngineDown",
        'up{job="engines"} == 0',
        "1m",
        "page",
        "{{ $labels.replica }} does not answer",
        "Its log says why; `pulumi preview` shows what differs from the stack file.",
    )
    running, tokens = total(plan, Measure.RUNNING, "replica"), rate(plan, Measure.GENERATED_TOKENS, "replica")
    prompts = rate(plan, Measure.PROMPT_TOKENS, "replica")
    if running and tokens:
        still = f"({tokens}) == 0" + (f" and on (replica) ({prompts}) == 0" if prompts else "")
        yield _Alert(
            "EngineFrozen",
            f"({running}) > 0 and on (replica) ({still})",
            "1m",
            "page",
            "{{ $labels.replica }} has requests and makes no tokens",
            "It is out of rotation; restart it when it does not come back by itself.",
        )
    if waiting := total(plan, Measure.WAITING):
        yield _Alert(
            "QueueGrowing",
            f"min_over_time(({waiting})[10m:1m]) > 0 and on (model) deriv(({waiting})[10m:1m]) > 0",
            "5m",
            "ticket",
            "requests for {{ $labels.model }} wait, and more and more do",
            "Add a replica, raise concurrency where the memory allows it, or limit a client.",
        )
    yield from _memory_and_time(plan)
    for measure in (Measure.RUNNING, Measure.GENERATED_TOKENS):
        if known := reported(plan, measure):
            yield _Alert(
                "MeasurementMissing",
                f'up{{job="engines"}} == 1 unless on (replica) ({known})',
                "10m",
                "ticket",
                f"{{{{ $labels.replica }}}} does not report {measure.value}",
                "The engine is not of the version in the stack file: dashboards and alerts would be blind to it.",
                {"measure": measure.value},
            )


def _memory_and_time(plan: Plan) -> Iterator[_Alert]:
    if cache := highest(plan, Measure.KV_USAGE):
        yield _Alert(
            "KvCacheFull",
            f"({cache}) > 0.95",
            "10m",
            "ticket",
            "the KV cache of {{ $labels.model }} is {{ $value | humanizePercentage }} full",
            "Requests are put back and begun again. Lower concurrency or context, or raise the model's share.",
        )
    if first := quantile(plan, Measure.FIRST_TOKEN, 0.95):
        yield _Alert(
            "FirstTokenSlow",
            f"({first}) > {_FIRST_TOKEN_S:g}",
            "5m",
            "ticket",
            "the first token of {{ $labels.model }} takes {{ $value | humanizeDuration }} (p95)",
            "Look at its queue: too many requests, or prompts too long for max_num_batched_tokens.",
        )


def _gateway(standing: int) -> Iterator[_Alert]:
    yield _Alert(
        "GatewayDown",
        'up{job="gateway"} == 0',
        "1m",
        "page",
        "the gateway does not answer",
        "No client reaches any model; see its log.",
    )
    bad = 'sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_xx{envoy_response_code_class="5"}[5m]))'
    every = "sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_xx[5m]))"
    yield _Alert(
        "GatewayErrors",
        f"{bad} / {every} > 0.05",
        "5m",
        "page",
        "{{ $value | humanizePercentage }} of the answers of {{ $labels.envoy_cluster_name }} are errors",
        "The engine's log has their reason.",
    )
    yield _Alert(
        "NoReplicaInRotation",
        f"max by (envoy_cluster_name) (envoy_cluster_membership_healthy) == {standing} "
        "and on (envoy_cluster_name) max by (envoy_cluster_name) (envoy_cluster_membership_total) > 0",
        "1m",
        "page",
        "no replica of {{ $labels.envoy_cluster_name }} is in rotation",
        "Clients get 503. The engine is down, starting or frozen; see its log.",
    )
    yield _Alert(
        "EngineOutOfRotation",
        "berth_engine_in_rotation == 0",
        "2m",
        "ticket",
        "{{ $labels.engine }} is out of rotation",
        "It is down, starting or frozen: its log says which. It comes back by itself once it answers.",
    )
    yield _Alert(
        "CertificateExpiring",
        "envoy_server_days_until_first_cert_expiring < 14 and envoy_server_days_until_first_cert_expiring >= 0",
        "1h",
        "ticket",
        "the gateway's certificate expires in {{ $value }} days",
        "Replace the files that gateway.tls names; they are read again by themselves.",
    )


def _gpus() -> Iterator[_Alert]:
    yield _Alert(
        "GpuExporterDown",
        'up{job="gpu"} == 0',
        "5m",
        "ticket",
        "the GPUs are not measured",
        "See the log of the dcgm-exporter container.",
    )
    yield _Alert(
        "GpuMemoryHigh",
        f"{gpu_memory_share()} > 0.98",
        "10m",
        "ticket",
        "GPU {{ $labels.gpu }} has {{ $value | humanizePercentage }} of its memory in use",
        "An engine that restarts may not start again: lower a share.",
    )
    codes = " or ".join(f"DCGM_FI_DEV_XID_ERRORS == {code}" for code in SERIOUS_XIDS)
    yield _Alert(
        "GpuFailing",
        codes,
        "0s",
        "page",
        "GPU {{ $labels.gpu }} reported Xid {{ $value }}",
        "Drain the machine and reset the GPU or reboot; one that comes back with it goes to its maker.",
    )
    yield _Alert(
        "GpuRowRemapFailed",
        f"(DCGM_FI_DEV_ROW_REMAP_FAILURE < {BLANK:g}) == 1",
        "0s",
        "page",
        "GPU {{ $labels.gpu }} could not replace bad memory",
        "It goes to its maker.",
    )
    yield _Alert(
        "GpuHot",
        f"{gpu('GPU_TEMP')} > {_HOTTEST_C}",
        "5m",
        "ticket",
        "GPU {{ $labels.gpu }} has {{ $value }} degrees",
        "It slows itself down: look at fans and dust, or set a power limit.",
    )
