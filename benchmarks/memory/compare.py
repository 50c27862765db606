"""Compares the memory planner with published start-ups of real engines.

    python benchmarks/memory/compare.py [--rows] [FILE...]

Each row of the tables beside this file is one start-up log that somebody published, with its source. The planner sees
what a stack file would say (model, version, card, arguments) and never the measured numbers; the comparison prints the
error of each term, its median and 90th percentile, and how verdicts and outcomes agree.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.version import InvalidVersion, Version

from berth.catalogue import gpus, models
from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory import Lora, Serving, footprint, predict
from berth.planner.verdict import ReplicaMemory, Verdict

HERE = Path(__file__).parent
FAILED = {"kv_too_small", "oom"}
DRAFTS = re.compile(r"speculative decoding on|MTP|drafter|dflash", re.IGNORECASE)


@dataclass
class Result:
    """One row: what was predicted, and the relative error of each term that was measured."""

    row: Mapping[str, str]
    memory: ReplicaMemory | None = None
    problem: str = ""
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The planner's verdict; what it cannot read is unknown to it."""
        return Verdict.UNKNOWN if self.memory is None else self.memory.verdict


def main(arguments: list[str]) -> int:
    """Prints the comparison; 1 when a start-up that failed for memory was called a fit."""
    parser = argparse.ArgumentParser(description="Compare predicted with published memory of engine start-ups.")
    parser.add_argument("files", nargs="*", type=Path, default=sorted(HERE.glob("*_startups.csv")))
    parser.add_argument("--rows", action="store_true", help="print each row")
    options = parser.parse_args(arguments)
    results = [compare(row) for path in options.files for row in read(path)]
    if options.rows:
        for number, result in enumerate(results, start=1):
            print(_line(number, result))
    summary(results)
    return 1 if any(lie(result) for result in results) else 0


def read(path: Path) -> list[dict[str, str]]:
    """The rows of one table."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def compare(row: Mapping[str, str]) -> Result:
    """Predicts one row and sets the prediction beside what was measured."""
    result = Result(row)
    try:
        shape = models.find(row["model"].split(" (")[0].strip())
    except models.UnknownModel as problem:
        result.problem = str(problem)
        return result
    gpu = card(row)
    if gpu is None:
        result.problem = f"card {row['gpu']!r} is not known"
        gpu, known = gpus.find("h100"), False
    else:
        known = True
    serving = serving_of(row, shape)
    predicted = predict(shape, serving, gpu, held_by_others(row, gpu))
    parts = footprint(shape, serving, gpu)
    if known:
        result.memory = predicted
    _error(result, "weights", parts.weights.gib, row["weights_gib"])
    if known:
        _error(result, "available KV", predicted.available_kv.gib, row["available_kv_gib"])
        if row["weights_gib"]:
            shift = parts.weights.gib - float(row["weights_gib"])
            _error(result, "available KV, weights given", predicted.available_kv.gib + shift, row["available_kv_gib"])
        _error(result, "activations", parts.activations.gib, row["peak_activation_gib"])
    _error(result, "CUDA graphs", parts.graphs.gib, row["cudagraph_gib"])
    if row["available_kv_gib"] and float(row["available_kv_gib"]) > 0:
        given = predict(shape, replace(serving, kv_cache_bytes=Bytes.from_gib(float(row["available_kv_gib"]))), gpu)
        _error(result, "KV tokens of measured KV", given.kv_tokens, row["kv_tokens"])
        _error(result, "concurrency of measured KV", given.max_concurrency, row["max_concurrency"])
    if known:
        _error(result, "KV tokens", predicted.kv_tokens, row["kv_tokens"])
    return result


def _error(result: Result, term: str, predicted: float, measured: str) -> None:
    if measured and float(measured) > 0:
        result.errors[term] = predicted / float(measured) - 1


def card(row: Mapping[str, str]) -> Gpu | None:
    """The card by its name in the row, with the total that the row's log printed."""
    text = row["gpu"].lower()
    total = float(row["gpu_total_gib"]) if row["gpu_total_gib"] else None
    found = None
    for gpu in sorted(gpus.all_gpus(), key=lambda gpu: -len(gpu.id)):
        names = (gpu.id.replace("-", " "), gpu.id.replace("-", " ").removeprefix("rtx ").removesuffix("gb"))
        if any(re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", text.replace("-", " ")) for name in names):
            found = gpu
            break
    if found is None and "h100" in text:
        found = gpus.find("h100")
    if found is None and total:
        found = min(gpus.all_gpus(), key=lambda gpu: abs(gpu.cuda_total.gib - total))
        if abs(found.cuda_total.gib - total) > 0.5:
            found = None
    if found is None and "sm_86 24gb" in text:
        found = gpus.find("rtx-3090")
    if found is not None and total:
        found = replace(found, cuda_total=Bytes.from_gib(total))
    return found


def held_by_others(row: Mapping[str, str], gpu: Gpu) -> Bytes:
    """What other processes held, where the log of a failed start says how much was free."""
    free = re.search(r"Free memory on device \(([\d.]+)/", row["note"])
    return Bytes(max(0, gpu.cuda_total - gpu.context - Bytes.from_gib(float(free[1])))) if free else Bytes(0)


def version_of(text: str) -> Version:
    """The engine version of a row; where two are named the first, where only a date is, the release of that time."""
    dates = (
        ("2026-09", "0.29.0"),
        ("2026-08", "0.28.0"),
        ("2026-07", "0.25.0"),
        ("2026-06", "0.23.0"),
        ("2026-02", "0.7.3"),
    )
    if "latest of 2026-01" in text:
        return Version("0.14.0")
    found = re.search(r"\d+\.\d+(\.\d+)*(rc\d+|\.post\d+)?", text)
    try:
        if found and not re.match(r"\d{4}", found[0]):
            return Version(found[0])
    except InvalidVersion:
        pass
    return next((Version(release) for month, release in dates if month in text), Version("0.11.0"))


def serving_of(row: Mapping[str, str], shape: ModelShape) -> Serving:
    """What a stack file would have said for this row."""
    note = row["note"]
    block = re.search(r"block_size (\d+)", note)
    share = row["gpu_memory_utilization"]
    words = row["source"] + note + row["vllm_version"]
    treated = re.search(r"treat util as ([\d.]+)", note)
    context = row["max_model_len"]
    return Serving(
        version=version_of(row["vllm_version"]),
        context=int(context) if context else shape.max_context,
        max_num_seqs=int(row["max_num_seqs"]) if row["max_num_seqs"] else None,
        max_num_batched_tokens=int(row["max_num_batched_tokens"]) if row["max_num_batched_tokens"] else None,
        dtype=row["dtype"] or "auto",
        quantization=(row["quantization"] or "").split(" ")[0] or None,
        kv_cache_dtype=row["kv_cache_dtype"] or "auto",
        tensor_parallel=int(row["tp"] or 1),
        pipeline_parallel=int(row["pp"] or 1),
        enforce_eager=row["enforce_eager"] == "True",
        share=float(treated[1]) if treated else float(share) if share else None,
        block_size=int(block[1]) if block else None,
        lora=Lora() if "LoRA on" in note else None,
        installation="image" if re.search(r"llm-d|vllm-openai|docker|image", words) else "package",
        prefix_caching=True if "prefix caching on" in note else None,
        speculative_tokens=1 if DRAFTS.search(note) else 0,
    )


def lie(result: Result) -> bool:
    """Whether a start-up that failed for memory was called a fit."""
    return result.row["outcome"] in FAILED and result.verdict is Verdict.FITS


def summary(results: list[Result]) -> None:
    """Medians, 90th percentiles and the confusion of verdicts."""
    print(f"\n{'term':34} {'rows':>5} {'median':>8} {'p90':>8} {'worst':>8}   bias")
    terms = dict.fromkeys(term for result in results for term in result.errors)
    for term in terms:
        errors = [result.errors[term] for result in results if term in result.errors]
        sizes = sorted(map(abs, errors))
        p90 = sizes[min(len(sizes) - 1, round(0.9 * (len(sizes) - 1)))]
        print(
            f"{term:34} {len(errors):5} {statistics.median(sizes):8.1%} {p90:8.1%} {sizes[-1]:8.1%} "
            f"{statistics.median(errors):+7.1%}"
        )
    print("\nverdict against outcome")
    confusion = Counter((str(result.verdict), result.row["outcome"]) for result in results if not _other(result))
    for (verdict, outcome), count in sorted(confusion.items()):
        print(f"  {verdict:14} {outcome:14} {count}")
    unread = [result for result in results if result.problem]
    print(f"\n{len(results)} rows, {len(unread)} with a model or card that the row does not name well enough")


def _other(result: Result) -> bool:
    """Rows whose card is not named have no verdict to compare."""
    return result.memory is None


def _line(number: int, result: Result) -> str:
    row = result.row
    errors = "  ".join(f"{term} {error:+.1%}" for term, error in result.errors.items())
    left = f"{number:3} {row['model'][-34:]:34} {row['vllm_version'][:8]:8} {row['gpu'][:14]:14} {row['outcome']:5}"
    return f"{left} {result.verdict:10} {errors} {result.problem}"


def rows_of(results: Iterable[Result], term: str) -> list[float]:
    """The errors of one term, for tests."""
    return [result.errors[term] for result in results if term in result.errors]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
