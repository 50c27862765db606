"""What Prometheus scrapes: every engine, the gateway and the GPUs of one host, with the plan's own names as labels."""

from __future__ import annotations

from typing import Any

from berth.engines.registry import ENGINES
from berth.planner.plan import Plan, ReplicaPlan

RULES_FILE = "rules.yml"
_INTERVAL = "5s"
"""An engine that froze must be seen within a quarter of a minute; a scrape of an engine is some 50 KB."""


def configuration(plan: Plan, host: str, *, gpu_port: int | None) -> dict[str, Any]:
    """Prometheus' configuration for one host, all targets on its loopback address; YAML takes it as it is."""
    jobs = [_engines(plan, host)]
    if plan.gateway is not None and plan.gateway.host == host:
        jobs.append(_job("gateway", [_target(plan.gateway.metrics_port, host=host)]))
        jobs.append(_job("watcher", [_target(plan.gateway.metrics_port, host=host, __metrics_path__="/engines")]))
    if gpu_port is not None:
        jobs.append(_job("gpu", [_target(gpu_port, host=host)]))
    return {
        "global": {"scrape_interval": _INTERVAL, "evaluation_interval": _INTERVAL},
        "rule_files": [RULES_FILE],
        "scrape_configs": [job for job in jobs if job["static_configs"]],
    }


def _engines(plan: Plan, host: str) -> dict[str, Any]:
    mine = [replica for replica in plan.replicas if replica.host == host]
    targets = [_target(replica.port, **_labels(replica), __metrics_path__=_path(replica)) for replica in mine]
    return _job("engines", targets)


def _labels(replica: ReplicaPlan) -> dict[str, str]:
    return {
        "host": replica.host,
        "model": replica.model,
        "revision": replica.revision,
        "replica": replica.name,
        "engine": replica.engine.name,
        "engine_version": replica.engine.version,
        "gpus": ",".join(map(str, replica.cards)),
    }


def _path(replica: ReplicaPlan) -> str:
    return ENGINES[replica.engine.name].metrics_path


def _target(port: int, **labels: str) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": labels}


def _job(name: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {"job_name": name, "static_configs": targets}
