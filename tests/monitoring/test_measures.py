"""The names of engines' numbers against what engines have really said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from berth.monitoring import dashboards, rules
from berth.monitoring.measures import HISTOGRAMS, Measure, every, metric
from tests.monitoring.stacks import planned

RECORDED = Path(__file__).with_name("recorded")


def reported(text: str) -> set[str]:
    """The names of all series in a text of metrics."""
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.txt")), ids=lambda path: path.stem)
def test_a_recorded_engine_reports_every_measure_under_its_name(path: Path) -> None:
    engine, version = path.stem.split("-", 1)
    have = reported(path.read_text())
    for measure, name in every(engine, version):
        needed = {f"{name}_bucket", f"{name}_count"} if measure in HISTOGRAMS and engine != "tgi" else {name}
        assert needed <= have, f"{engine} {version} has no {needed - have} for {measure}"


@pytest.mark.parametrize(
    ("version", "measure", "name"),
    [
        ("0.9.1", Measure.KV_USAGE, "vllm:gpu_cache_usage_perc"),
        ("0.9.2", Measure.KV_USAGE, "vllm:kv_cache_usage_perc"),
        ("0.10.1.1", Measure.INTER_TOKEN, "vllm:time_per_output_token_seconds"),
        ("0.11.0", Measure.INTER_TOKEN, "vllm:inter_token_latency_seconds"),
    ],
)
def test_a_renamed_number_has_the_name_of_its_release(version: str, measure: Measure, name: str) -> None:
    assert metric("vllm", version, measure) == name


def test_what_an_engine_does_not_report_has_no_name() -> None:
    assert metric("tgi", "3.3.6", Measure.KV_USAGE) is None


def test_a_stack_is_asked_only_for_what_its_engines_report() -> None:
    plan = planned("rtx5090")
    known = {name for replica in plan.replicas for _, name in every(replica.engine.name, replica.engine.version)}
    texts = [
        *(rule["expr"] for group in rules(plan, "box", gpu=True)["groups"] for rule in group["rules"]),
        *(target["expr"] for board in dashboards(plan, gpu=True).values() for panel in board["panels"]
          for target in panel["targets"]),
    ]  # fmt: skip
    asked = {re.sub(r"_(bucket|count)$", "", name) for text in texts for name in re.findall(r"vllm:\w+", text)}
    assert asked <= known
    assert {"vllm:kv_cache_usage_perc", "vllm:time_to_first_token_seconds"} <= asked
