"""SGLang and TGI: the same intent in their words."""

from __future__ import annotations

from typing import Any

import pytest

from berth.engines.contract import Adapter, Engine, Intent, Rendered
from berth.engines.sglang import SGLANG, static_fraction
from berth.engines.tgi import TGI

GIB = 2**30


def rendered(engine: Engine, version: str, intent: Intent | None = None, **args: Any) -> Rendered:
    return engine.render(intent or Intent(), args, version=version, device="cuda")


def refusals(outcome: Rendered) -> dict[str, str]:
    return {note.where: note.text for note in outcome.notes if note.severity == "refusal"}


@pytest.mark.parametrize("version", ["0.5.2", "0.5.9", "0.5.18", "0.5.23"])
@pytest.mark.parametrize(
    ("intent", "arguments"),
    [
        (Intent(context=2048, concurrency=16), {"context-length": 2048, "max-running-requests": 16}),
        (Intent(dtype="float16", quantization="awq"), {"dtype": "float16", "quantization": "awq"}),
        (Intent(model_impl="transformers"), {"model-impl": "transformers"}),
        (Intent(trust_remote_code=True), {"trust-remote-code": True}),
        (Intent(cpu_offload=3 * GIB + 1), {"cpu-offload-gb": 4}),
        (Intent(kv_cache=GIB, kv_tokens=5000), {"max-total-tokens": 5000}),
        (Intent(kv_cache_dtype="fp8"), {"kv-cache-dtype": "fp8_e4m3"}),
        (
            Intent(lora=(Adapter(name="a", path="/a"),), max_lora_rank=8),
            {"enable-lora": True, "lora-paths": ("a=/a",), "max-loras-per-batch": 1, "max-lora-rank": 8},
        ),
    ],
)
def test_sglang_intents(version: str, intent: Intent, arguments: dict[str, Any]):
    outcome = rendered(SGLANG, version, intent)
    assert outcome.arguments == {**arguments, "enable-metrics": True}
    assert not refusals(outcome)


def test_sglang_names_its_ranks_as_the_release_does():
    assert rendered(SGLANG, "0.5.2", Intent(tensor_parallel=2)).arguments["tensor-parallel-size"] == 2
    assert rendered(SGLANG, "0.5.23", Intent(tensor_parallel=2)).arguments["tp-size"] == 2


def test_sglang_leaves_activations_outside_its_fraction():
    # 32 GiB: 2048 tokens of prefill at 1.5 MiB, 24 graphs at 2 MiB, 0.6 GiB of context.
    outside = (2048 * 1.5 + 24 * 2 + 600) / 1024 / 32
    assert static_fraction(0.45, 32 * GIB, {}) == pytest.approx(0.45 - outside, abs=0.001)
    assert static_fraction(0.45, 32 * GIB, {"disable_cuda_graph": True}) > static_fraction(0.45, 32 * GIB, {})
    assert static_fraction(0.5, None, {}) == 0.45
    assert static_fraction(0.05, 16 * GIB, {}) == 0.05


@pytest.mark.parametrize("value", ["many", None, True, float("nan"), [1]])
def test_sglang_reckons_with_its_defaults_where_a_count_is_none(value: object):
    args = {"chunked_prefill_size": value, "cuda_graph_max_bs": value}
    assert static_fraction(0.45, 32 * GIB, args) == static_fraction(0.45, 32 * GIB, {})


def test_sglang_says_what_its_fraction_means():
    outcome = rendered(SGLANG, "0.5.9", Intent(share=0.45, card_memory=32 * GIB))
    assert outcome.arguments["mem-fraction-static"] == static_fraction(0.45, 32 * GIB, {})
    assert any(note.where == "share" and "outside" in note.text for note in outcome.notes)


def test_sglang_flags_are_checked():
    found = refusals(
        rendered(SGLANG, "0.5.9", mem_fraction_static=0.5, chunked_prefil_size=1, tp=2, max_prefill_tokens="x")
    )
    assert "share" in found["args.mem_fraction_static"]
    assert "the nearest is chunked_prefill_size" in found["args.chunked_prefil_size"]
    assert "must be a whole number" in found["args.max_prefill_tokens"]


def test_images_per_prompt_came_to_sglang_with_a_release():
    assert (
        "0.5.9 to 0.5.23 have it"
        in refusals(rendered(SGLANG, "0.5.6", Intent(images_per_prompt=1)))["images_per_prompt"]
    )


def test_sglang_command():
    command = SGLANG.command("/env", "/m", {"tp-size": 2}, served_names=["a", "b"], host="127.0.0.1", port=3)
    assert command == [
        *("/env/bin/python", "-m", "sglang.launch_server", "--model-path", "/m", "--host", "127.0.0.1", "--port", "3"),
        *("--served-model-name", "a", "--tp-size", "2"),
    ]


TGI_ALWAYS = {"payload-limit": 32 * 2**20, "usage-stats": "off"}


@pytest.mark.parametrize(
    ("intent", "arguments"),
    [
        (Intent(context=2048), {"max-total-tokens": 2048, "max-input-tokens": 2047}),
        (Intent(concurrency=16, share=0.5), {"max-batch-size": 16, "cuda-memory-fraction": 0.5}),
        (Intent(dtype="half"), {"dtype": "float16"}),
        (Intent(quantization="awq_marlin"), {"quantize": "awq"}),
        (Intent(tensor_parallel=2, trust_remote_code=True), {"trust-remote-code": True, "num-shard": 2}),
        (Intent(kv_cache_dtype="fp8"), {"kv-cache-dtype": "fp8_e4m3fn"}),
        (Intent(lora=(Adapter(name="a", path="/a"), Adapter(name="b", path="r/b"))), {"lora-adapters": "a=/a,b=r/b"}),
    ],
)
def test_tgi_intents(intent: Intent, arguments: dict[str, Any]):
    outcome = rendered(TGI, "3.3.7", intent)
    assert outcome.arguments == {**arguments, **TGI_ALWAYS}
    assert not refusals(outcome)


@pytest.mark.parametrize(
    ("intent", "key"),
    [
        (Intent(pipeline_parallel=2), "parallel"),
        (Intent(task="embed"), "task"),
        (Intent(cpu_offload=GIB), "cpu_offload"),
        (Intent(images_per_prompt=1), "images_per_prompt"),
        (Intent(load_format="gguf"), "load_format"),
        (Intent(dtype="float32"), "dtype"),
        (Intent(dtype="float16", quantization="awq"), "dtype"),
        (Intent(quantization="aqlm"), "quantization"),
    ],
)
def test_what_tgi_does_not_have_is_refused(intent: Intent, key: str):
    assert key in refusals(rendered(TGI, "3.3.7", intent))


def test_tgi_takes_its_own_flags_and_the_old_name():
    outcome = rendered(TGI, "3.3.7", Intent(context=2048), max_input_length=1024, payload_limit=5, cuda_graphs="0")
    assert outcome.arguments["max-input-tokens"] == 1024
    assert outcome.arguments["payload-limit"] == 5
    assert outcome.arguments["cuda-graphs"] == "0"
    assert not refusals(outcome)


def test_tgi_command():
    command = TGI.command(None, "gpt2", {"num-shard": 2}, served_names=["a"], host="0.0.0.0", port=80)
    assert command == [
        *("/tgi-entrypoint.sh", "--model-id", "gpt2", "--hostname", "0.0.0.0", "--port", "80", "--num-shard", "2")
    ]
