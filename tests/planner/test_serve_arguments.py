"""The arguments that the owner of a pod calls essential, on that pod's stack: each is said, wrong ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import SpecError, loads
from tests.facts.fixtures import recorded

STACK = yaml.safe_load((Path(__file__).parents[2] / "stacks/a40x2-tp2.yaml").read_text())
OLD, NEW = "0.8.5", "0.11.0"
QUANTIZATIONS = (
    *("aqlm", "awq", "deepspeedfp", "tpu_int8", "fp8", "fbgemm_fp8", "modelopt", "marlin", "gguf", "gptq_marlin_24"),
    *("gptq_marlin", "awq_marlin", "gptq", "compressed-tensors", "bitsandbytes", "qqq", "experts_int8"),
    *("neuron_quant", "ipex"),
)
LOAD_FORMATS = (
    *(
        "auto",
        "pt",
        "safetensors",
        "npcache",
        "dummy",
        "tensorizer",
        "sharded_state",
        "gguf",
        "bitsandbytes",
        "mistral",
    ),
)


def decided(version: str = NEW, gpu: str = "a40", **said: Any) -> Plan:
    pod = {**STACK["hosts"]["pod"], "gpus": [{"model": gpu, "count": 2}]}
    engine = {"name": "vllm", "version": version}
    llama = {**STACK["models"]["llama"], "context": 8192, "engine": engine, **said}
    stack = loads(yaml.safe_dump({"hosts": {"pod": pod}, "models": {"llama": llama}, "gateway": STACK["gateway"]}))
    return plan(stack, "x", facts={"pod": recorded("a40x2-pod")} if gpu == "a40" else {})


def refused(found: Plan) -> str:
    return "; ".join(str(note) for note in found.refusals)


@pytest.mark.parametrize(
    ("said", "flag", "value"),
    [
        ({"context": 65536}, "max-model-len", 65536),
        ({"share": 0.85}, "gpu-memory-utilization", 0.85),
        ({"cpu_offload": "4 GiB"}, "cpu-offload-gb", 4.0),
        ({"parallel": {"pipeline": 2}}, "pipeline-parallel-size", 2),
        ({"parallel": {"tensor": 2}}, "tensor-parallel-size", 2),
        ({"lora": {"max_loras": 2}}, "enable-lora", True),
        ({"lora": {"max_loras": 2}}, "max-loras", 2),
        *(({"dtype": name}, "dtype", name) for name in ("half", "float16", "bfloat16", "float", "float32")),
    ],
)
def test_each_is_said_in_its_own_words(said: dict[str, Any], flag: str, value: object) -> None:
    found = decided(**said)
    assert refused(found) == ""
    assert found.replicas[0].arguments[flag] == value


def test_what_is_left_out_is_the_engines_own_and_the_share_is_said_to_be_of_the_total() -> None:
    found = decided()
    assert "gpu-memory-utilization" not in found.replicas[0].arguments
    assert any("0.9 is the engine's own: a fraction of the card's total memory" in note.text for note in found.notes)


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_a_quantization_is_taken_where_release_and_card_have_it(name: str) -> None:
    """Each is known in the release of that description; what is for other hardware is refused by what it is for."""
    text = refused(decided(OLD, quantization=name, load_format="auto"))
    elsewhere = {
        "tpu_int8": "is for TPUs",
        "neuron_quant": "is for AWS Neuron",
        "ipex": "is for Intel's CPUs and GPUs",
        "modelopt": "needs compute capability 8.9",
    }
    assert elsewhere.get(name, "") in text
    assert bool(text) is (name in elsewhere)


@pytest.mark.parametrize("name", LOAD_FORMATS)
def test_a_load_format_is_taken(name: str) -> None:
    text = refused(decided(OLD, load_format=name))
    assert text == ""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"quantization": "awq", "load_format": "gguf"}, "is gguf beside quantization awq, must agree"),
        ({"quantization": "gguf", "load_format": "safetensors"}, "must be gguf or left out"),
        ({"quantization": "marlim"}, "is 'marlim', must be one of"),
        ({"load_format": "zip"}, "is 'zip', must be"),
        ({"parallel": {"tensor": 3}, "place": [{"host": "pod"}]}, "needs 3 cards for one replica, pod has 2"),
        ({"context": 200_000}, "must be at most 131072"),
        ({"args": {"gpu_memory_utilization": 0.9}}, "has a key of its own, must be said there; write `share: 0.9`"),
        ({"args": {"cpu_offload_gb": 4}}, "write `cpu_offload: 4 GiB`"),
        ({"args": {"enable_lora": True}}, "write `lora: {adapters: […]}`"),
    ],
)
def test_what_cannot_be_is_refused_by_name(said: dict[str, Any], words: str) -> None:
    assert words in refused(decided(**said))


def test_a_dtype_that_does_not_exist_is_refused_before_any_plan() -> None:
    with pytest.raises(SpecError, match="dtype"):
        decided(dtype="bf16")


def test_a_v100_has_no_bfloat16() -> None:
    text = refused(decided(OLD, "v100-sxm2-32gb", dtype="bfloat16"))
    assert "is bfloat16, which" in text
    assert "must be float16" in text


@pytest.mark.parametrize(("version", "kept"), [("0.8.5", True), ("0.10.1.1", False)])
def test_log_requests_are_off_by_a_flag_or_by_themselves(version: str, kept: bool) -> None:
    found = decided(version, args={"disable_log_requests": True})
    assert ("disable-log-requests" in found.replicas[0].arguments) is kept
    assert any(note.where.endswith("disable_log_requests") for note in found.notes) is not kept


def test_what_is_kept_in_the_machines_memory_is_taken_off_each_card() -> None:
    whole, offloaded = decided().replicas[0].memory, decided(cpu_offload="4 GiB").replicas[0].memory
    assert whole is not None
    assert offloaded is not None
    assert whole.used == offloaded.used, "the KV cache takes what is free"
    assert offloaded.kv_tokens > whole.kv_tokens
    assert offloaded.available_kv - whole.available_kv == 4 * 2**30
