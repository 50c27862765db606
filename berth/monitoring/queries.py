"""The questions that dashboards and alerts ask Prometheus, each made of the names that the stack's engines report."""

from __future__ import annotations

from collections.abc import Callable

from berth.monitoring.measures import HISTOGRAMS, Measure, names
from berth.planner.plan import Plan

_WINDOW = "1m"
SERIOUS_XIDS = (
    *(46, 48, 54, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 143),
    *(144, 145, 146, 147, 148, 149, 150, 155, 156, 158),
)
"""NVIDIA's Xid catalogue: a GPU or its machine is bad now. Those of an application (13, 31, 43, 45, …) are left out."""

OF_MODELS = '{envoy_cluster_name=~".+@.+"}'
"""Envoy's clusters of revisions, not those of the gateway's own answers."""

BLANK = 1e15
"""DCGM writes 9223372036854775794 and the like for what it could not read."""


def quantile(plan: Plan, measure: Measure, share: float, by: str = "model") -> str | None:
    """A quantile of a histogram over the last minute; None where no engine of the stack has it."""
    if measure not in HISTOGRAMS:
        raise ValueError(f"{measure} is no histogram")
    return _of(
        plan,
        measure,
        lambda name: f"histogram_quantile({share:g}, sum by ({by}, le) (rate({name}_bucket[{_WINDOW}])))",
    )


def total(plan: Plan, measure: Measure, by: str = "model") -> str | None:
    """A gauge, added up."""
    return _of(plan, measure, lambda name: f"sum by ({by}) ({name})")


def highest(plan: Plan, measure: Measure, by: str = "model") -> str | None:
    """A gauge, the highest of its replicas."""
    return _of(plan, measure, lambda name: f"max by ({by}) ({name})")


def rate(plan: Plan, measure: Measure, by: str = "model") -> str | None:
    """A counter's growth a second over the last minute."""
    return _of(plan, measure, lambda name: f"sum by ({by}) (rate({name}[{_WINDOW}]))")


def reported(plan: Plan, measure: Measure, by: str = "replica") -> str | None:
    """Whether a measure is reported at all, whatever its value; a histogram by its count."""
    suffix = "_count" if measure in HISTOGRAMS else ""
    return _of(plan, measure, lambda name: f"group by ({by}) ({name}{suffix})")


def responses(by: str = "envoy_cluster_name, envoy_response_code_class") -> str:
    """Answers of the gateway a second."""
    return f"sum by ({by}) (rate(envoy_cluster_upstream_rq_xx{OF_MODELS}[{_WINDOW}]))"


def gpu(field: str, by: str = "gpu") -> str:
    """A number of dcgm-exporter without its blanks."""
    return f"max by ({by}) (DCGM_FI_DEV_{field} < {BLANK:g})"


def gpu_memory_share() -> str:
    """The used share of each card's memory."""
    used, free, kept = (f"DCGM_FI_DEV_FB_{part}" for part in ("USED", "FREE", "RESERVED"))
    # the reserved part is absent on some drivers
    whole = f"({used} + {free} + ({kept} or 0 * {used}))"
    return f"max by (gpu) ({used} / {whole})"


def _of(plan: Plan, measure: Measure, form: Callable[[str], str]) -> str | None:
    """The same question of each name that the stack's engines have for a measure."""
    return " or ".join(form(name) for name in names(plan, measure)) or None
