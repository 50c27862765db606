"""The planner against what people measured: three models on an RTX 5090, Llama on two A40, published start-ups."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

from berth.catalogue import gpus, models
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory import Resident, Serving, alternatives, largest_context, place, predict
from berth.planner.verdict import Verdict

ROOT = Path(__file__).parents[3]
CARD = gpus.find("rtx-5090")
SAID_GB = 2**20 * 1000
"""The notes behind the measurement write MiB / 1000 as GB: the card has "32.6 GB", which is 32607 MiB."""
MODELS = (
    ("tinyllama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1024, 32, 2048),
    ("qwen", "Qwen/Qwen2.5-3B-Instruct", 1536, 24, 3072),
    ("yi", "01-ai/Yi-6B-Chat", 2048, 16, 4096),
)


def residents(*shares: float) -> list[Resident]:
    """The three models at these shares."""
    return [
        Resident(
            name=name,
            shape=models.find(repo),
            serving=Serving(
                version=Version("0.10.1.1"),
                context=context,
                concurrency=at_once,
                max_num_batched_tokens=tokens,
                dtype="float16",
                enforce_eager=True,
                share=share,
                installation="image",
            ),
        )
        for (name, repo, context, at_once, tokens), share in zip(MODELS, shares, strict=False)
    ]


def test_balanced_is_within_5_percent_of_what_the_processes_held() -> None:
    verdict, (tiny, qwen, yi) = place(residents(0.15, 0.25, 0.45), CARD)
    assert tiny.used / SAID_GB == pytest.approx(5.3, rel=0.05)
    assert qwen.used / SAID_GB == pytest.approx(8.4, rel=0.05)
    assert yi.used < CARD.cuda_total * 0.45 + CARD.context + 1
    assert verdict.verdict is Verdict.FITS


@pytest.mark.parametrize("number", range(3))
def test_alone_at_nine_tenths_within_3_percent(number: int) -> None:
    one = residents(0.9, 0.9, 0.9)[number]
    assert predict(one.shape, one.serving, CARD).used / SAID_GB == pytest.approx(29.5, rel=0.03)


def test_aggressive_is_tight_and_says_its_margin_against_the_free_memory_check() -> None:
    verdict, memories = place(residents(0.18, 0.28, 0.50), CARD)
    assert verdict.verdict is Verdict.TIGHT
    assert [memory.verdict for memory in memories] == [Verdict.FITS, Verdict.FITS, Verdict.TIGHT]
    assert "refuses to start below 0.5 x total = 15.68 GiB: margin -0.25 to +0.09 GiB" in verdict.reasons[0]


def test_three_at_nine_tenths_each_are_refused() -> None:
    verdict, memories = place(residents(0.9, 0.9, 0.9), CARD)
    assert [memory.verdict for memory in memories] == [Verdict.FITS, *[Verdict.DOES_NOT_FIT] * 2]
    assert "qwen: at its start" in verdict.reasons[0]


def test_llama_with_its_full_context_fits_an_a40_and_not_a_3090(llama: ModelShape) -> None:
    wanted = Serving(version=Version("0.11.0"), context=131072)
    on_a40 = predict(llama, wanted, gpus.find("a40"))
    assert on_a40.verdict is Verdict.FITS
    assert on_a40.kv_tokens == pytest.approx(193_000, rel=0.02)
    small = gpus.find("rtx-3090")
    refused = predict(llama, wanted, small)
    assert refused.verdict is Verdict.DOES_NOT_FIT
    assert "needs 16.00 GiB of KV cache" in refused.reasons[0]
    context = largest_context(llama, wanted, small)
    assert context is not None
    assert predict(llama, replace(wanted, context=context), small).verdict is Verdict.FITS


def test_what_is_suggested_has_been_planned(llama: ModelShape) -> None:
    wanted = Serving(version=Version("0.11.0"), context=131072)
    found = alternatives(llama, wanted, gpus.find("rtx-3090"), cards=4)
    assert [one.text for one in found][1:] == ["set tensor_parallel to 2", "set tensor_parallel to 4"]
    assert found[0].text.startswith("set context to 3")
    assert all(one.memory.verdict is Verdict.FITS for one in found)


def compare() -> ModuleType:
    """The benchmark as a module."""
    path = ROOT / "benchmarks" / "memory" / "compare.py"
    spec = importlib.util.spec_from_file_location("compare_startups", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_published_start_ups_keep_their_agreement() -> None:
    bench = compare()
    results = [
        bench.compare(row) for path in sorted((ROOT / "benchmarks/memory").glob("*.csv")) for row in bench.read(path)
    ]
    assert len(results) >= 60
    assert not [result.row["source"] for result in results if bench.lie(result)]
    for term, median, p90 in (
        ("weights", 0.005, 0.02),
        ("available KV", 0.01, 0.12),
        ("available KV, weights given", 0.01, 0.05),
        ("concurrency of measured KV", 0.005, 0.02),
    ):
        errors = sorted(map(abs, bench.rows_of(results, term)))
        assert len(errors) > 25
        assert statistics.median(errors) < median, term
        assert errors[int(0.9 * len(errors))] < p90, term


def test_the_planner_never_reads_the_table() -> None:
    """Neither the planner nor the catalogue names the benchmark, a CSV module or a measurement's source."""
    for path in [*(ROOT / "berth/planner").rglob("*.py"), *(ROOT / "berth/catalogue").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for word in ("import csv", "benchmarks", "startups", ".csv", "pandas"):
            assert word not in text, f"{path} mentions {word}"


def test_observed_totals_win(llama: ModelShape) -> None:
    small = replace(gpus.find("a40"), cuda_total=Bytes.from_gib(22))
    assert predict(llama, Serving(version=Version("0.11.0"), context=4096), small).budget.gib == pytest.approx(19.8)
