"""Whatever a stack file says as flags, rendering answers with arguments and notes, never with a traceback."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from berth.catalogue.engine_versions import _all_flags, _releases_read
from berth.engines.contract import Adapter, Intent, flags
from berth.engines.registry import ENGINES
from berth.engines.vllm_arguments import GONE

TRICKY = {
    "vllm": ["hf_overrides", *(name.replace("-", "_") for name in GONE)],
    "sglang": ["chunked_prefill_size", "cuda_graph_max_bs", "disable_cuda_graph"],
    "tgi": ["max_input_length", "max_input_tokens", "payload_limit"],
}
NAMES = {
    engine: sorted({name.replace("-", "_") for flag in _all_flags(engine) for name in flag.names}) for engine in ENGINES
}

words = st.text(max_size=12) | st.sampled_from(["auto", "fp8", "4k", "1.5", "{}", '{"a": 1}', "[1]", "image=2", "true"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars, max_size=3)
odd_names = st.from_regex(r"(--)?[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True)
maybe = st.none() | st.integers(1, 10**6)
intents = st.builds(
    Intent,
    context=maybe,
    concurrency=maybe,
    task=st.none() | st.sampled_from(["generate", "embed", "classify", "score", "reward", "transcription"]),
    dtype=st.sampled_from(["auto", "half", "float16", "bfloat16", "float32"]),
    quantization=st.none() | st.sampled_from(["awq", "fp8", "gguf", "nonsense"]),
    load_format=st.none() | st.sampled_from(["auto", "dummy", "gguf", "nonsense"]),
    kv_cache_dtype=st.none() | st.sampled_from(["auto", "fp8", "nonsense"]),
    tensor_parallel=st.integers(1, 8),
    pipeline_parallel=st.integers(1, 4),
    data_parallel=st.integers(1, 4),
    expert_parallel=st.booleans(),
    lora=st.lists(st.builds(Adapter, name=st.just("a"), path=st.just("/a")), max_size=2).map(tuple),
    model_impl=st.sampled_from(["auto", "native", "transformers"]),
    trust_remote_code=st.booleans(),
    cpu_offload=maybe,
    images_per_prompt=maybe,
    prefix_caching=st.none() | st.booleans(),
    share=st.none() | st.floats(0.01, 1),
    kv_cache=maybe,
    kv_tokens=maybe,
    card_memory=st.none() | st.integers(2**30, 2**38),
)


@st.composite
def revisions(draw: st.DrawFn) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """An engine, a release, and flags that are mostly its own."""
    engine = draw(st.sampled_from(sorted(ENGINES)))
    names = st.sampled_from(TRICKY[engine]) | st.sampled_from(NAMES[engine]) | odd_names
    args = st.dictionaries(names, values, max_size=6)
    version = draw(st.sampled_from([*_releases_read(engine), "0.1", "0.14.2", "99.0"]))
    return engine, version, draw(args), draw(args)


@settings(max_examples=500, deadline=None)
@given(revision=revisions(), intent=intents, device=st.sampled_from(["cuda", "cpu"]))
def test_rendering_never_raises(revision: tuple[str, str, dict[str, Any], dict[str, Any]], intent: Intent, device: Any):
    name, version, args, unchecked = revision
    outcome = ENGINES[name].render(intent, args, version=version, device=device, unchecked=unchecked)
    assert all(note.text and note.where for note in outcome.notes)
    assert all(isinstance(word, str) for word in flags(outcome.arguments))


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(st.text(max_size=200), max_size=5), engine=st.sampled_from(sorted(ENGINES)))
def test_any_log_can_be_read(lines: list[str], engine: str):
    ENGINES[engine].explain(lines)
    for line in lines:
        ENGINES[engine].progress(line)
        ENGINES[engine].startup_terminal(line)
