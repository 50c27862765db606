"""What must hold for every serving: asking for more never takes less, suggestions fit, no input ends in a traceback."""

from __future__ import annotations

import time
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from berth.catalogue import gpus, models
from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory import Lora, Serving, alternatives, largest_context, predict, smallest_share
from berth.planner.verdict import Verdict

SHAPES = st.sampled_from(models.names()).map(models.find)
CARDS = st.sampled_from(gpus.all_gpus())
VERSIONS = st.sampled_from(
    [
        Version(text)
        for text in ("0.5.5", "0.7.3", "0.8.5", "0.9.0", "0.10.1.1", "0.11.0", "0.14.0", "0.18.1", "0.20.0", "0.31.0")
    ]
)
SERVINGS = st.builds(
    Serving,
    engine=st.sampled_from(["vllm", "vllm", "vllm", "sglang", "tgi"]),
    version=VERSIONS,
    context=st.integers(1, 2**18),
    concurrency=st.none() | st.integers(1, 512),
    max_num_seqs=st.none() | st.integers(1, 2048),
    max_num_batched_tokens=st.none() | st.integers(1, 65536),
    quantization=st.sampled_from([None, "fp8", "awq", "bitsandbytes"]),
    kv_cache_dtype=st.sampled_from(["auto", "fp8"]),
    tensor_parallel=st.sampled_from([1, 2, 4, 8]),
    pipeline_parallel=st.sampled_from([1, 2]),
    enforce_eager=st.booleans(),
    share=st.none() | st.floats(0.05, 0.99),
    lora=st.none() | st.builds(Lora, adapters=st.integers(1, 8), rank=st.sampled_from([8, 64])),
    images_per_prompt=st.none() | st.integers(0, 4),
    prefix_caching=st.none() | st.booleans(),
    installation=st.sampled_from(["package", "image"]),
)


def needed(shape: ModelShape, serving: Serving, gpu: Gpu) -> int:
    """All that the serving needs: what is not cache, and the cache for what is declared."""
    found = predict(shape, serving, gpu)
    return int(found.needed_kv) + sum(int(term.size) for term in found.terms if term.name != "KV cache")


@settings(max_examples=300, deadline=None)
@given(SHAPES, SERVINGS, CARDS, st.integers(1, 100_000))
def test_more_context_never_takes_less(shape: ModelShape, serving: Serving, gpu: Gpu, more: int) -> None:
    if serving.version < Version("0.8.0"):  # these engines themselves start to chunk prompts above 32768 tokens
        serving = replace(serving, chunked_prefill=serving.context % 2 == 0)
    longer = replace(serving, context=serving.context + more)
    assert needed(shape, longer, gpu) >= needed(shape, serving, gpu)


@settings(max_examples=300, deadline=None)
@given(SHAPES, SERVINGS, CARDS, st.integers(1, 512))
def test_more_sequences_never_take_less(shape: ModelShape, serving: Serving, gpu: Gpu, more: int) -> None:
    some = replace(serving, concurrency=serving.concurrency or 1, max_num_seqs=None)
    many = replace(some, concurrency=some.at_once + more)
    assert needed(shape, many, gpu) >= needed(shape, some, gpu)
    fixed = replace(serving, max_num_batched_tokens=2048, max_num_seqs=serving.max_num_seqs or 16)
    wider = replace(fixed, max_num_seqs=(fixed.max_num_seqs or 16) + more)
    assert needed(shape, wider, gpu) >= needed(shape, fixed, gpu)


@settings(max_examples=300, deadline=None)
@given(SHAPES, SERVINGS, CARDS, st.floats(0.001, 0.5))
def test_more_share_never_takes_less(shape: ModelShape, serving: Serving, gpu: Gpu, more: float) -> None:
    before = replace(serving, share=serving.share or 0.3)
    after = replace(before, share=(before.share or 0.3) + more)
    small, large = predict(shape, before, gpu), predict(shape, after, gpu)
    assert large.used >= small.used
    assert large.available_kv >= small.available_kv
    assert large.kv_tokens >= small.kv_tokens


@settings(max_examples=300, deadline=None)
@given(SHAPES, SERVINGS, CARDS)
def test_more_neighbours_never_help(shape: ModelShape, serving: Serving, gpu: Gpu) -> None:
    alone = predict(shape, serving, gpu)
    beside = predict(shape, serving, gpu, Bytes.from_gib(3))
    order = list(Verdict)
    assert order.index(beside.verdict) >= order.index(alone.verdict) or alone.verdict is Verdict.UNKNOWN


@settings(max_examples=150, deadline=None)
@given(SHAPES, SERVINGS, CARDS, st.floats(0, 30))
def test_suggestions_fit(shape: ModelShape, serving: Serving, gpu: Gpu, others: float) -> None:
    held = Bytes.from_gib(others)
    for one in alternatives(shape, serving, gpu, held, cards=8):
        assert predict(shape, one.serving, gpu, held).verdict is Verdict.FITS
    context = largest_context(shape, serving, gpu, held)
    if context is not None:
        assert predict(shape, replace(serving, context=context), gpu, held).verdict is Verdict.FITS


@settings(max_examples=150, deadline=None)
@given(SHAPES, SERVINGS, CARDS)
def test_the_smallest_share_serves_what_is_declared(shape: ModelShape, serving: Serving, gpu: Gpu) -> None:
    share = smallest_share(shape, serving, gpu)
    if share is not None:
        found = predict(shape, replace(serving, share=share), gpu)
        assert found.available_kv >= found.needed_kv


def test_a_hundred_models_take_a_few_milliseconds() -> None:
    shapes = [models.find(name) for name in models.names()[:100]]
    card = gpus.find("a100-80gb")
    wanted = Serving(version=Version("0.11.0"), context=8192)
    for shape in shapes:
        predict(shape, wanted, card)
    start = time.perf_counter()
    for number, shape in enumerate(shapes):
        predict(shape, replace(wanted, context=8192 + number), card)
    assert time.perf_counter() - start < 0.1
