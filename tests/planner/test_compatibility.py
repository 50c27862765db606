"""Engine release, card, driver and model: what goes together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from berth.catalogue import gpus, models
from berth.catalogue.models.shape import Attention, ModelShape, Quantization
from berth.planner.compatibility import Setup, compatibility
from berth.planner.plan import Severity

SHAPE = ModelShape(
    name="a/model",
    architecture="LlamaForCausalLM",
    layers=32,
    hidden=4096,
    vocab=32000,
    tied=False,
    intermediate=14336,
    dense_layers=32,
    max_context=8192,
    attention=(Attention(count=32, heads=32, kv_heads=8, head_dim=128),),
)


def setup(card: str | None, version: str, **more: Any) -> Setup:
    gpu = gpus.find(card) if card is not None else None
    given: dict[str, Any] = {"engine": "vllm", "device": "cuda", "container": True, "shape": SHAPE, **more}
    return Setup(where="models.m", version=version, gpu=gpu, **given)


def said(one: Setup) -> list[tuple[str, str, str]]:
    return [(note.severity.value, note.where, note.text) for note in compatibility(one)]


def refused(one: Setup) -> str:
    return " | ".join(str(note) for note in compatibility(one) if note.severity is Severity.REFUSAL)


@pytest.mark.parametrize(
    ("card", "version"),
    [
        ("rtx-5090", "0.10.1.1"),
        ("a40", "0.8.5"),
        ("a40", "0.32.0"),
        ("rtx-3090", "0.10.1.1"),
        ("h100-sxm", "0.33.0"),
        ("rtx-4090", "0.9.2"),
        ("gb10", "0.20.0"),
        ("t4", "0.32.0"),
    ],
)
def test_cards_with_kernels(card: str, version: str):
    assert said(setup(card, version, dtype="float16")) == []


@pytest.mark.parametrize(
    ("engine", "card", "version", "text"),
    [
        ("vllm", "rtx-5090", "0.8.5", "must be 0.9.2 or newer"),
        ("vllm", "v100-16gb", "0.20.0", "must be older than 0.20.0"),
        ("sglang", "rtx-5090", "0.4.10", "must be 0.5.2 or newer"),
        ("tgi", "t4", "3.3.7", "another card"),
    ],
)
def test_cards_without_kernels_are_refused(engine: str, card: str, version: str, text: str):
    found = refused(setup(card, version, engine=engine))
    assert "has no kernels for" in found
    assert text in found


def test_the_image_that_only_has_ptx_for_the_card_warns():
    [(severity, where, text)] = said(setup("rtx-5090", "0.9.1"))
    assert (severity, where) == ("warning", "models.m.engine.version")
    assert "better is 0.9.2 or newer" in text


def test_an_image_of_ones_own_is_not_judged():
    assert said(setup("rtx-5090", "0.8.5", own_image=True)) == []


@pytest.mark.parametrize(
    ("card", "version", "driver", "text"),
    [
        ("rtx-5090", "0.10.1.1", "545.29.06", "must be 570"),
        ("rtx-4090", "0.20.0", "570.124.06", "must be 580.65.6 or newer"),
        ("rtx-4090", "0.20.0", "570.124.06", "v0.20.0-cu129"),
        ("rtx-3090", "0.10.1.1", "520.61.05", "must be 525.60.13 or newer"),
    ],
)
def test_drivers_that_are_too_old_are_refused(card: str, version: str, driver: str, text: str):
    assert text in refused(setup(card, version, driver=driver))


@pytest.mark.parametrize("driver", ["575.64.05", "580.95.05", None, "not a version"])
def test_drivers_that_do(driver: str | None):
    assert said(setup("rtx-5090", "0.10.1.1", driver=driver)) == []


def test_a_driver_between_the_floors_warns_in_a_container_alone():
    between = setup("rtx-4090", "0.10.1.1", driver="550.54.14")
    assert [severity for severity, _, _ in said(between)] == ["warning"]
    assert said(replace(between, container=False)) == []


def test_data_center_cards_may_have_compatibility_packages():
    assert [severity for severity, _, _ in said(setup("h100-sxm", "0.20.0", driver="570.124.06"))] == ["warning"]


def test_bfloat16_needs_ampere():
    assert "must be float16" in refused(setup("v100-16gb", "0.10.1.1", dtype="bfloat16"))
    assert said(setup("v100-16gb", "0.10.1.1", dtype="float16")) == []
    [(severity, _, text)] = said(setup("v100-16gb", "0.10.1.1"))
    assert severity == "warning"
    assert "dtype: float16" in text


@pytest.mark.parametrize(
    ("card", "version", "method", "severity"),
    [
        ("v100-16gb", "0.10.1.1", "fp8", "refusal"),
        ("t4", "0.10.1.1", "fp8", "refusal"),
        ("t4", "0.14.0", "fp8", "note"),
        ("a40", "0.10.1.1", "fp8", "note"),
        ("rtx-4090", "0.10.1.1", "fp8", None),
        ("a40", "0.10.1.1", "awq", None),
        ("a40", "0.10.1.1", "tpu_int8", "refusal"),
        ("rtx-4090", "0.10.1.1", "mxfp4", "note"),
        ("rtx-5090", "0.10.1.1", "mxfp4", None),
    ],
)
def test_quantizations_on_cards(card: str, version: str, method: str, severity: str | None):
    found = [level for level, where, _ in said(setup(card, version, quantization=method, dtype="float16"))]
    assert found == ([severity] if severity else [])


def test_the_checkpoints_own_quantization_counts():
    shape = replace(SHAPE, quantization=Quantization(method="fp8", bits=8), dtype="float16")
    assert "needs compute capability" in refused(setup("v100-16gb", "0.10.1.1", shape=shape))


@pytest.mark.parametrize(
    ("method", "loaded", "ok"),
    [
        ("bitsandbytes", "bitsandbytes", True),
        ("bitsandbytes", None, True),
        ("bitsandbytes", "safetensors", False),
        ("awq", "bitsandbytes", False),
        ("awq", "gguf", False),
        ("gguf", "gguf", True),
        (None, "gguf", True),
        ("awq", "safetensors", True),
        ("gguf", "auto", True),
    ],
)
def test_load_format_agrees_with_quantization(method: str | None, loaded: str | None, ok: bool):
    assert (refused(setup("a40", "0.10.1.1", quantization=method, load_format=loaded)) == "") is ok


@pytest.mark.parametrize(
    ("said_method", "stored", "ok"), [("awq_marlin", "awq", True), ("gptq", "awq", False), ("fp8", "fp8", True)]
)
def test_quantization_agrees_with_the_checkpoint(said_method: str, stored: str, ok: bool):
    shape = replace(SHAPE, quantization=Quantization(method=stored, bits=4))
    assert (refused(setup("rtx-4090", "0.10.1.1", quantization=said_method, shape=shape)) == "") is ok


def test_dots_ocr_is_served_from_0_11():
    shape = replace(SHAPE, architecture="DotsOCRForCausalLM")
    assert "must be 0.11.0 or newer" in refused(setup("a40", "0.10.2", shape=shape))
    assert said(setup("a40", "0.11.0", shape=shape)) == []
    assert said(setup("a40", "0.10.2", shape=shape, model_impl="transformers")) == []


def test_support_that_ended_warns_with_the_last_release():
    shape = replace(SHAPE, architecture="MllamaForConditionalGeneration")
    [(severity, _, text)] = said(setup("a40", "0.32.0", shape=shape))
    assert severity == "warning"
    assert "take 0.10.2" in text


def test_an_architecture_that_no_release_lists_warns():
    shape = replace(SHAPE, architecture="NewForCausalLM")
    assert [severity for severity, _, _ in said(setup("a40", "0.32.0", shape=shape))] == ["warning"]


@pytest.mark.parametrize(
    ("tensor", "ok"), [(1, True), (2, True), (4, True), (8, True), (16, True), (3, False), (6, False)]
)
def test_heads_divide_by_tensor_ranks(tensor: int, ok: bool):
    found = refused(setup("a40", "0.10.1.1", tensor=tensor))
    assert (found == "") is ok
    if not ok:
        assert f"tensor is {tensor}, which does not divide 32 attention heads; must be 1, 2, 4, 8 or 16" in found


def test_key_value_heads_divide_too():
    shape = replace(SHAPE, attention=(Attention(count=32, heads=24, kv_heads=6, head_dim=128),), intermediate=12288)
    assert "key-value heads" in refused(setup("a40", "0.10.1.1", tensor=4, shape=shape))


def test_pipelines_have_no_more_stages_than_layers():
    assert "must be 32 or less" in refused(setup("a40", "0.10.1.1", pipeline=33))
    assert [severity for severity, _, _ in said(setup("a40", "0.10.1.1", pipeline=3))] == ["note"]


def test_context_beyond_the_models_is_refused():
    assert "must be at most 8192" in refused(setup("a40", "0.10.1.1", context=9000))


def test_on_cpu_only_the_model_counts():
    assert said(setup(None, "0.32.0", device="cpu")) == []
    assert refused(setup(None, "0.32.0", device="cpu", context=9000))


def test_unknown_shapes_and_cards_say_nothing():
    assert said(setup(None, "0.32.0", shape=None)) == []


@pytest.mark.parametrize("name", ["TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Qwen/Qwen2.5-3B-Instruct", "01-ai/Yi-6B-Chat"])
def test_the_three_models_of_one_5090_go_together(name: str):
    shape = models.find(name)
    assert said(setup("rtx-5090", "0.10.1.1", shape=shape, driver="575.64.05", dtype="float16", context=1024)) == []
