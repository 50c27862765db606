"""Each term by itself: weights, activations, graphs, what lies outside the budget, defaults by version and card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from berth.catalogue import gpus, models
from berth.catalogue.models import ModelShape, StoredWeights
from berth.catalogue.units import Bytes
from berth.planner.memory import Generation, Lora, batch_of, footprint, generation_of, predict, share_of
from berth.planner.memory.process import graph_sizes
from berth.planner.memory.weights import weights
from berth.planner.verdict import Verdict
from tests.planner.memory.conftest import serving

H100, A100, A40, T4 = (gpus.find(name) for name in ("h100-sxm", "a100-80gb", "a40", "t4"))


@pytest.mark.parametrize(
    ("version", "card", "wanted"),
    [
        ("0.6.3", A40, Generation.V0_DEVICE),
        ("0.7.3", A40, Generation.V0),
        ("0.8.5", A40, Generation.V1_DEVICE),
        ("0.8.5", T4, Generation.V0),
        ("0.9.0.1", A40, Generation.V1_DEVICE),
        ("0.9.1", A40, Generation.V1),
        ("0.10.1.1", T4, Generation.V0),
        ("0.10.2", T4, Generation.V1),
        ("0.19.1", A40, Generation.V1),
        ("0.20.0", A40, Generation.V1_GRAPHS),
        ("0.31.0", A40, Generation.V1_CONSUMED),
    ],
)
def test_generations(version: str, card: gpus.Gpu, wanted: Generation) -> None:
    assert generation_of(serving(version=version).version, card) is wanted


@pytest.mark.parametrize(
    ("version", "card", "given", "wanted"),
    [
        ("0.8.2", A40, {}, (2048, 1024)),
        ("0.8.4", A40, {}, (2048, 256)),
        ("0.8.5", A100, {}, (8192, 1024)),
        ("0.9.0", A100, {}, (2048, 256)),
        ("0.11.0", H100, {}, (8192, 1024)),
        ("0.11.0", A40, {"concurrency": 16}, (2048, 16)),
        ("0.11.0", A40, {"max_num_seqs": 8, "concurrency": 16}, (2048, 8)),
        ("0.11.0", A40, {"chunked_prefill": False, "context": 9000}, (9000, 256)),
        ("0.7.3", A40, {"context": 20000}, (20000, 256)),
        ("0.7.3", A40, {"context": 40000}, (2048, 256)),
        ("0.11.0", A40, {"max_num_batched_tokens": 512}, (512, 256)),
    ],
)
def test_default_batches(
    llama: ModelShape, version: str, card: gpus.Gpu, given: dict[str, Any], wanted: tuple[int, int]
) -> None:
    found = batch_of(llama, serving(version=version, **given), card)
    assert (found.tokens, found.sequences) == wanted


@pytest.mark.parametrize(("version", "wanted"), [("0.19.1", 0.9), ("0.20.0", 0.92)])
def test_the_default_share_rose(version: str, wanted: float) -> None:
    assert share_of(serving(version=version), A40) == wanted


@pytest.mark.parametrize(
    ("name", "given", "card", "gib"),
    [  # "Model loading took X GiB" in start-up logs
        ("meta-llama/Llama-3.1-8B-Instruct", {}, H100, 14.99),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", {"tensor_parallel": 2}, H100, 33.88),
        ("Qwen/Qwen3-30B-A3B", {"tensor_parallel": 4}, T4, 14.25),
        ("openai/gpt-oss-20b", {}, H100, 13.47),
        ("openai/gpt-oss-120b", {"tensor_parallel": 2}, gpus.find("h200"), 32.98),
        ("nvidia/DeepSeek-R1-0528-FP4", {"tensor_parallel": 4}, gpus.find("b200"), 94.08),
        ("RedHatAI/Qwen3.6-35B-A3B-NVFP4", {}, gpus.find("gb10"), 21.86),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", {"quantization": "bitsandbytes"}, A40, 0.7318),
        ("rednote-hilab/dots.ocr", {}, A40, 5.7174),
    ],
)
def test_weights_per_rank(name: str, given: dict[str, Any], card: gpus.Gpu, gib: float) -> None:
    assert weights(models.find(name), serving(**given), card).gib == pytest.approx(gib, rel=0.01)


def test_stored_weights_are_taken_as_they_are(llama: ModelShape) -> None:
    stored = StoredWeights(sharded=8 * 2**30, keys_values=2**30, replicated=2**30, embedding=2**30)
    shape = replace(llama, stored=stored)
    whole, half = (weights(shape, serving(tensor_parallel=ranks), A40).gib for ranks in (1, 2))
    assert whole == pytest.approx(11, abs=0.1)
    assert half == pytest.approx(6, abs=0.1)


def test_pipelines_divide_layers_and_keep_the_ends_apart(llama: ModelShape) -> None:
    whole = weights(llama, serving(), A40)
    half = weights(llama, serving(pipeline_parallel=2), A40)
    assert whole / 2 < half < whole * 0.6


def test_offload_takes_weights_off_the_card(llama: ModelShape) -> None:
    less = weights(llama, serving(cpu_offload=Bytes.from_gib(5)), A40)
    assert (weights(llama, serving(), A40) - less).gib == pytest.approx(5)


@pytest.mark.parametrize(
    ("version", "installation", "gib"),
    [  # peak activation in logs: sorted rows, FlashInfer in images, Triton later
        ("0.10.2", "package", 4.76),
        ("0.10.2", "image", 1.96),
        ("0.14.0", "image", 4.76),
        ("0.17.1", "package", 1.96),
    ],
)
def test_the_sampler_decides_the_peak_on_big_cards(
    llama: ModelShape, version: str, installation: str, gib: float
) -> None:
    parts = footprint(llama, serving(version=version, installation=installation), H100)
    assert parts.activations.gib == pytest.approx(gib, rel=0.03)


def test_long_batches_make_the_forward_pass_decide() -> None:
    shape = models.find("Qwen/Qwen2.5-14B-Instruct")
    parts = footprint(shape, serving(version="0.7.2", context=32768), A100)
    assert parts.activations.gib == pytest.approx(3.79, rel=0.02)


def test_vision_counts_unless_no_image_may_come() -> None:
    shape = models.find("Qwen/Qwen2.5-VL-7B-Instruct")
    seen = footprint(shape, serving(version="0.23.0", context=128000), A100).activations
    blind = footprint(shape, serving(version="0.23.0", context=128000, images_per_prompt=0), A100).activations
    assert seen.gib == pytest.approx(15.5, rel=0.1)
    assert blind.gib < 1


def test_graphs_cost_nothing_eagerly_and_move_into_the_budget(llama: ModelShape) -> None:
    assert footprint(llama, serving(enforce_eager=True), A40).graphs == 0
    before, after = (footprint(llama, serving(version=version), A40) for version in ("0.19.0", "0.20.0"))
    assert (before.graphs_in_budget, after.graphs_in_budget) == (False, True)
    assert before.on_top == before.graphs + before.context
    assert after.on_top == after.context


@pytest.mark.parametrize(("sequences", "sizes"), [(1, 2), (16, 7), (32, 11), (256, 51), (1024, 51)])
def test_captured_sizes(llama: ModelShape, sequences: int, sizes: int) -> None:
    given = serving(max_num_seqs=sequences)
    assert graph_sizes(given, batch_of(llama, given, A40), A40) == sizes


def test_what_others_hold_counted_twice_before_0_9_1(llama: ModelShape) -> None:
    others = Bytes.from_gib(5)
    old, new = (predict(llama, serving(version=version), A40, others) for version in ("0.9.0", "0.9.1"))
    assert (new.available_kv - old.available_kv).gib == pytest.approx(5 + A40.context.gib, abs=0.01)


def test_lora_adds_its_buffers(llama: ModelShape) -> None:
    parts = footprint(llama, serving(lora=Lora(adapters=4, rank=64)), A40)
    assert 0.3 < parts.adapters.gib < 1.5


def test_a_cache_in_bytes_ignores_the_share(llama: ModelShape) -> None:
    found = predict(llama, serving(kv_cache_bytes=Bytes.from_gib(4), share=0.5), A40)
    assert found.available_kv == Bytes.from_gib(4)
    assert found.kv_tokens == 32768
    assert found.verdict is Verdict.FITS
    assert found.budget == footprint(llama, serving(), A40).counted + Bytes.from_gib(4)


def test_sglang_leaves_activations_outside_its_fraction(llama: ModelShape) -> None:
    given = serving(engine="sglang", version="0.5.5", share=0.8)
    parts = footprint(llama, given, A40)
    assert not parts.activations_in_budget
    found = predict(llama, given, A40)
    assert found.available_kv == found.budget - parts.counted
    assert found.used > found.budget
    assert 0.7 < share_of(replace(given, share=None), A40) < 0.95


def test_tgi_takes_the_whole_card(llama: ModelShape) -> None:
    given = serving(engine="tgi", version="3.3.5")
    assert share_of(given, A40) == 1.0
    found = predict(llama, given, A40)
    assert found.used <= A40.cuda_total
    assert found.verdict is Verdict.FITS


def test_terms_add_up_and_say_where_they_come_from(llama: ModelShape) -> None:
    found = predict(llama, serving(), A40)
    assert found.used == sum(term.size for term in found.terms)
    assert all(term.source for term in found.terms)
    assert found.least < found.used


def test_what_is_not_known_is_unknown_and_never_refused(llama: ModelShape) -> None:
    strange = replace(llama, unknown=("the memory of its layers is not known to Berth",))
    found = predict(strange, serving(context=10**7), T4)
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons[0] == "the memory of its layers is not known to Berth"
    odd = predict(llama, serving(quantization="aqlm"), A40)
    assert odd.verdict is Verdict.UNKNOWN


def test_requests_that_must_wait_make_it_tight(llama: ModelShape) -> None:
    found = predict(llama, serving(context=32768, concurrency=64), A40)
    assert found.verdict is Verdict.TIGHT
    assert "requests of 32768 tokens; others wait" in found.reasons[0]
