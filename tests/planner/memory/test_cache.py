"""KV memory by architecture: per token, per request, and what a pool of bytes holds."""

from __future__ import annotations

from typing import Any

import pytest

from berth.catalogue import models
from berth.catalogue.units import Bytes
from berth.planner.memory.cache import bytes_per_request, bytes_per_token, kv_bytes_for, pool_of
from tests.planner.memory.conftest import serving


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", {}, 131072),
        ("meta-llama/Llama-3.1-8B-Instruct", {"kv_cache_dtype": "fp8"}, 65536),
        ("meta-llama/Llama-3.1-8B-Instruct", {"tensor_parallel": 4}, 32768),
        ("meta-llama/Llama-3.1-8B-Instruct", {"tensor_parallel": 16}, 16384),
        ("meta-llama/Llama-3.1-8B-Instruct", {"pipeline_parallel": 2}, 65536),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", {}, 22528),
        ("Qwen/Qwen2.5-3B-Instruct", {}, 36864),
        ("Qwen/Qwen2.5-3B-Instruct", {"tensor_parallel": 4}, 18432),
        ("tiiuae/falcon-7b-instruct", {}, 8192),
        ("deepseek-ai/DeepSeek-V3", {}, 70272),
        ("deepseek-ai/DeepSeek-V3", {"tensor_parallel": 8}, 70272),
        ("google/gemma-3-27b-it", {}, 10 * 2 * 16 * 128 * 2),
        ("google/gemma-3-27b-it", {"version": "0.8.5"}, 62 * 2 * 16 * 128 * 2),
        ("Qwen/Qwen3.5-27B", {}, 16 * 2 * 4 * 256 * 2),
        ("facebook/opt-125m", {"dtype": "float32"}, 12 * 2 * 12 * 64 * 4),
    ],
)
def test_bytes_of_one_more_token(name: str, given: dict[str, Any], wanted: int) -> None:
    assert bytes_per_token(models.find(name), serving(**given)) == wanted


def test_a_request_takes_whole_blocks() -> None:
    shape = models.find("meta-llama/Llama-3.1-8B-Instruct")
    assert bytes_per_request(shape, serving(), 17, 2048) == 32 * 131072
    assert bytes_per_request(shape, serving(block_size=128), 17, 2048) == 128 * 131072
    assert kv_bytes_for(shape, serving(), 4096, 8) == 8 * 4096 * 131072


@pytest.mark.parametrize(
    ("name", "given", "pool_gib", "requests"),
    [  # as engines printed them: "Maximum concurrency for N tokens per request"
        ("Qwen/Qwen3.5-27B", {"version": "0.27.1", "context": 65536, "tensor_parallel": 2}, 44.73, 21.48),
        ("openai/gpt-oss-120b", {"version": "0.15.1", "context": 131072, "tensor_parallel": 2}, 77.93, 32.56),
        ("RedHatAI/Qwen3.6-35B-A3B-NVFP4", {"version": "0.20.0", "context": 65536}, 82.42, 108.5),
        ("Qwen/Qwen3-14B", {"version": "0.10.0", "context": 32768}, 42.44, 8.49),
    ],
)
def test_requests_that_a_pool_holds(name: str, given: dict[str, Any], pool_gib: float, requests: float) -> None:
    found = pool_of(models.find(name), serving(**given), Bytes.from_gib(pool_gib), 8192)
    assert found.requests == pytest.approx(requests, rel=0.005)


def test_printed_tokens_of_mixed_layers_changed_their_meaning() -> None:
    shape = models.find("openai/gpt-oss-120b")
    pool = Bytes.from_gib(77.93)
    before = pool_of(shape, serving(version="0.15.1", context=131072, tensor_parallel=2), pool, 8192)
    after = pool_of(shape, serving(version="0.21.0", context=131072, tensor_parallel=2), pool, 8192)
    assert before.tokens == pytest.approx(2_269_888, rel=0.001)
    assert after.tokens == pytest.approx(after.requests * 131072, rel=0.001)


def test_windows_stop_growing_only_with_the_hybrid_manager() -> None:
    shape = models.find("google/gemma-3-27b-it")
    old = bytes_per_request(shape, serving(version="0.8.5"), 131072, 2048)
    new = bytes_per_request(shape, serving(version="0.11.0"), 131072, 2048)
    assert old == 131072 * 62 * 2 * 16 * 128 * 2
    assert new < old / 4


def test_prefix_caching_keeps_a_second_state() -> None:
    shape = models.find("Qwen/Qwen3.5-27B")
    without = bytes_per_request(shape, serving(prefix_caching=False), 65536, 2048)
    assert bytes_per_request(shape, serving(prefix_caching=True), 65536, 2048) > without
