"""The alert rules through promtool: they are valid, they fire when they must, and not when they must not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.monitoring import configuration, rules
from tests.monitoring.stacks import STACKS, planned

BOX = planned("rtx5090")
QWEN = 'replica="qwen-main-0",model="qwen",job="engines"'


def series(name: str, values: str, labels: str = QWEN) -> dict[str, str]:
    return {"series": f"{name}{{{labels}}}", "values": values}


def fired(name: str, at: str, *firing: dict[str, Any]) -> dict[str, Any]:
    return {"eval_time": at, "alertname": name, "exp_alerts": list(firing)}


def alert(severity: str, summary: str, description: str, **labels: str) -> dict[str, Any]:
    return {
        "exp_labels": {"severity": severity, **labels},
        "exp_annotations": {"summary": summary, "description": description},
    }


def said(name: str) -> str:
    groups = rules(BOX, "box", gpu=True)["groups"]
    return next(
        str(rule["annotations"]["description"]) for group in groups for rule in group["rules"] if rule["alert"] == name
    )


def check(promtool: str, folder: Path, *tests: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yml").write_text(yaml.safe_dump(rules(BOX, "box", gpu=True)))
    unit = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": list(tests)}
    (folder / "test.yml").write_text(yaml.safe_dump(unit))
    return subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in STACKS.glob("*.yaml")))
def test_promtool_accepts_what_every_stack_gets(promtool: str, name: str, tmp_path: Path) -> None:
    plan = planned(name)
    for host in plan.hosts:
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules(plan, host, gpu=True)))
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration(plan, host, gpu_port=9400)))
        done = subprocess.run(
            [promtool, "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"SUCCESS: \d+ rules found", done.stdout + done.stderr), done.stdout + done.stderr


def test_an_engine_that_froze_is_told_from_one_that_is_busy_and_one_that_has_nothing_to_do(
    promtool: str, tmp_path: Path
) -> None:
    def engine(running: str, tokens: str) -> list[dict[str, str]]:
        return [
            series("vllm:num_requests_running", running),
            series("vllm:generation_tokens_total", tokens),
            series("vllm:prompt_tokens_total", "7x20"),
        ]

    summary = "qwen-main-0 has requests and makes no tokens"
    frozen = alert("page", summary, said("EngineFrozen"), replica="qwen-main-0")
    cases = [
        (engine("3x20", "100x20"), [frozen]),
        (engine("64x20", "100+50x20"), []),
        (engine("0x20", "100x20"), []),
    ]
    tests = [
        {"interval": "15s", "input_series": given, "alert_rule_test": [fired("EngineFrozen", "5m", *firing)]}
        for given, firing in cases
    ]
    done = check(promtool, tmp_path, *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_measure_that_an_engine_no_longer_reports_is_told(promtool: str, tmp_path: Path) -> None:
    expected = [
        alert(
            "ticket",
            "qwen-main-0 does not report generated_tokens",
            said("MeasurementMissing"),
            job="engines",
            model="qwen",
            replica="qwen-main-0",
            measure="generated_tokens",
        )
    ]
    given = [series("up", "1x60"), series("vllm:num_requests_running", "0x60")]
    renamed = {"interval": "15s", "input_series": given}
    done = check(promtool, tmp_path, {**renamed, "alert_rule_test": [fired("MeasurementMissing", "14m", *expected)]})
    assert done.returncode == 0, done.stdout + done.stderr


def test_serious_xids_page_and_those_of_an_application_do_not(promtool: str, tmp_path: Path) -> None:
    firing = alert("page", "GPU 0 reported Xid 79", said("GpuFailing"), gpu="0", __name__="DCGM_FI_DEV_XID_ERRORS")
    firing["exp_labels"].pop("__name__")
    tests = [
        {
            "interval": "15s",
            "input_series": [series("DCGM_FI_DEV_XID_ERRORS", values, 'gpu="0"')],
            "alert_rule_test": [fired("GpuFailing", "1m", *found)],
        }
        for values, found in [("79x10", [firing]), ("31x10", []), ("0x10", []), ("9223372036854775794x10", [])]
    ]
    done = check(promtool, tmp_path, *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_memory_of_a_card_counts_without_its_reserved_part_too(promtool: str, tmp_path: Path) -> None:
    def card(*parts: str) -> list[dict[str, str]]:
        return [
            series(f"DCGM_FI_DEV_FB_{name}", f"{value}x60", 'gpu="0"')
            for name, value in zip(("USED", "FREE", "RESERVED"), parts, strict=False)
        ]

    firing = alert("ticket", "GPU 0 has 99% of its memory in use", said("GpuMemoryHigh"), gpu="0")
    tests = [
        {"interval": "15s", "input_series": given, "alert_rule_test": [fired("GpuMemoryHigh", "14m", *found)]}
        for given, found in [
            (card("99", "1"), [firing]),
            (card("990", "5", "5"), [firing]),
            (card("90", "5", "5"), []),
        ]
    ]
    done = check(promtool, tmp_path, *tests)
    assert done.returncode == 0, done.stdout + done.stderr
