"""An intent and a user's own flags as the flags of vLLM releases."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from berth.catalogue.engine_versions import _releases_read, flags
from berth.engines.contract import Adapter, Intent, Rendered
from berth.engines.vllm import VLLM
from berth.engines.vllm_arguments import GONE, OWNED

RELEASES = _releases_read("vllm")


def rendered(version: str, intent: Intent | None = None, device: str = "cuda", **args: Any) -> Rendered:
    return VLLM.render(intent or Intent(), args, version=version, device="cpu" if device == "cpu" else "cuda")


def refusals(outcome: Rendered) -> dict[str, str]:
    return {note.where: note.text for note in outcome.notes if note.severity == "refusal"}


def notes(outcome: Rendered) -> dict[str, str]:
    return {note.where: note.text for note in outcome.notes if note.severity != "refusal"}


INTENTS = [
    (Intent(context=2048), {"max-model-len": 2048}),
    (Intent(concurrency=16), {"max-num-seqs": 16}),
    (Intent(dtype="float16"), {"dtype": "float16"}),
    (Intent(quantization="awq", load_format="safetensors"), {"quantization": "awq", "load-format": "safetensors"}),
    (Intent(tensor_parallel=2, pipeline_parallel=1), {"tensor-parallel-size": 2}),
    (Intent(pipeline_parallel=4, expert_parallel=True), {"pipeline-parallel-size": 4, "enable-expert-parallel": True}),
    (
        Intent(lora=(Adapter(name="a", path="/w/a"), Adapter(name="b", path="/w/b")), max_loras=2, max_lora_rank=32),
        {"enable-lora": True, "lora-modules": ("a=/w/a", "b=/w/b"), "max-loras": 2, "max-lora-rank": 32},
    ),
    (Intent(model_impl="transformers"), {"model-impl": "transformers"}),
    (Intent(model_impl="native"), {"model-impl": "vllm"}),
    (Intent(trust_remote_code=True), {"trust-remote-code": True}),
    (Intent(cpu_offload=4 * 2**30), {"cpu-offload-gb": 4.0}),
    (Intent(images_per_prompt=2), {"limit-mm-per-prompt": '{"image":2}'}),
    (Intent(share=0.25), {"gpu-memory-utilization": 0.25}),
    (Intent(kv_cache_dtype="fp8"), {"kv-cache-dtype": "fp8"}),
    (Intent(prefix_caching=False), {"enable-prefix-caching": False}),
]


@pytest.mark.parametrize("version", ["0.8.5", "0.10.1.1", "0.11.0", "0.32.0", "0.33.0"])
@pytest.mark.parametrize(("intent", "arguments"), INTENTS)
def test_intents_have_a_flag_in_every_release(version: str, intent: Intent, arguments: dict[str, Any]):
    outcome = rendered(version, intent)
    assert outcome.arguments == arguments
    assert not refusals(outcome)


@pytest.mark.parametrize(
    ("version", "task", "arguments"),
    [
        ("0.8.5", "generate", {"task": "generate"}),
        ("0.10.0", "embed", {"task": "embed"}),
        ("0.10.1", "generate", {"runner": "generate"}),
        ("0.32.0", "embed", {"runner": "pooling", "convert": "embed"}),
        ("0.10.1", "reward", {"runner": "pooling", "convert": "reward"}),
        ("0.16.0", "reward", {"runner": "pooling"}),
    ],
)
def test_task_becomes_what_the_release_calls_it(version: str, task: str, arguments: dict[str, Any]):
    assert rendered(version, Intent(task=task)).arguments == arguments


def test_kv_cache_in_bytes_came_with_0_10_2():
    intent = Intent(kv_cache=2**30)
    assert rendered("0.10.2", intent).arguments == {"kv-cache-memory-bytes": 2**30}
    assert "0.10.2 to 0.33.0 have it" in refusals(rendered("0.10.1.1", intent))["kv_cache"]


def test_kv_cache_on_cpu_is_a_variable_before_0_20():
    intent = Intent(kv_cache=2**30 + 1)
    old, new = rendered("0.19.1", intent, "cpu"), rendered("0.32.0", intent, "cpu")
    assert (old.arguments, old.environment) == ({}, {"VLLM_CPU_KVCACHE_SPACE": "2"})
    assert (new.arguments, new.environment) == ({"kv-cache-memory-bytes": 2**30 + 1}, {})


@pytest.mark.parametrize(
    ("version", "args", "arguments"),
    [
        ("0.8.5", {"disable_log_requests": True}, {"disable-log-requests": True}),
        ("0.10.1.1", {"disable_log_requests": True}, {}),
        ("0.32.0", {"disable_log_requests": True}, {}),
        ("0.32.0", {"disable_log_requests": False}, {"enable-log-requests": True}),
        ("0.10.0", {"enable_log_requests": False}, {"disable-log-requests": True}),
        ("0.8.5", {"use_v2_block_manager": True}, {}),
        ("0.32.0", {"use_v2_block_manager": True}, {}),
        ("0.10.1.1", {"swap_space": 4}, {}),
        ("0.10.0", {"num_scheduler_steps": 8}, {"num-scheduler-steps": 8}),
        ("0.10.1", {"num_scheduler_steps": 8}, {}),
        ("0.11.0", {"guided_decoding_backend": "xgrammar"}, {"guided-decoding-backend": "xgrammar"}),
        ("0.12.0", {"guided_decoding_backend": "xgrammar"}, {"structured-outputs-config": '{"backend":"xgrammar"}'}),
        ("0.32.0", {"rope_theta": 1e6}, {"hf-overrides": '{"rope_theta":1000000.0}'}),
        (
            "0.32.0",
            {"rope_theta": 1, "hf_overrides": {"a": 1}},
            {"hf-overrides": '{"rope_theta":1,"a":1}'},
        ),
    ],
)
def test_flags_that_went_are_rendered_or_dropped_with_a_note(
    version: str, args: dict[str, Any], arguments: dict[str, Any]
):
    outcome = rendered(version, **args)
    assert outcome.arguments == arguments
    assert not refusals(outcome)
    passed = {name.replace("_", "-") for name in args} & set(arguments)
    assert bool(notes(outcome)) is not bool(passed) or len(args) > 1


def test_a_replaced_flag_whose_meaning_moved_is_refused_with_what_to_write():
    found = refusals(rendered("0.32.0", speculative_model="x"))
    assert "speculative_config" in found["args.speculative_model"]


def test_unknown_flag_names_the_nearest():
    found = refusals(rendered("0.10.1.1", enfroce_eager=True))
    assert "the nearest is enforce_eager" in found["args.enfroce_eager"]


def test_flag_of_other_releases_names_them():
    found = refusals(rendered("0.9.0", async_scheduling=True))
    assert "vllm 0.9.0 has no --async-scheduling; 0.10.0 to 0.33.0 have it" in found["args.async_scheduling"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"max_num_batched_tokens": "many"}, "must be a whole number"),
        ({"max_num_batched_tokens": True}, "must be a whole number"),
        ({"enforce_eager": "yes"}, "must be true or false"),
        ({"seed": 1.5}, "must be a whole number"),
        ({"block_size": 17}, "must be one of 1, 8, 16, 32, 64, 128"),
        ({"hf_overrides": True}, "must be a mapping, a list or JSON text"),
    ],
)
def test_wrong_values_are_refused(args: dict[str, Any], said: str):
    assert said in refusals(rendered("0.10.1.1", **args))[f"args.{next(iter(args))}"]


@pytest.mark.parametrize("value", [4096, "4k", "4096"])
def test_whole_numbers_may_be_human(value: object):
    assert not refusals(rendered("0.10.1.1", max_num_batched_tokens=value))


@pytest.mark.parametrize("name", ["max_model_len", "gpu_memory_utilization", "dtype", "tensor_parallel_size", "task"])
def test_what_has_a_key_of_its_own_is_refused_in_args(name: str):
    assert "has a key of its own" in refusals(rendered("0.10.1.1", **{name: 1}))[f"args.{name}"]


@pytest.mark.parametrize("name", ["port", "host", "api_key"])
def test_what_berth_decides_is_refused(name: str):
    assert "must be left out" in refusals(rendered("0.32.0", **{name: "x"}))[f"args.{name}"]


def test_aliases_of_owned_flags_are_refused_too():
    assert "parallel" in refusals(rendered("0.32.0", device_memory_utilization=0.5, **{"-tp": 2}))["args.tp"]


def test_everything_wrong_is_said_at_once():
    outcome = rendered("0.9.0", Intent(kv_cache=1), enfroce_eager=True, block_size=3, dtype="half")
    assert set(refusals(outcome)) == {"kv_cache", "args.enfroce_eager", "args.block_size", "args.dtype"}


def test_unchecked_is_passed_on_and_noted():
    outcome = VLLM.render(
        Intent(), {}, version="0.32.0", device="cuda", unchecked={"my_plugin_flag": {"a": 1}, "port": 1}
    )
    assert outcome.arguments == {"my-plugin-flag": '{"a":1}'}
    assert set(refusals(outcome)) == {"unchecked_args.port"}


def test_a_release_newer_than_the_table_is_checked_against_the_newest_with_a_warning():
    outcome = rendered("99.0", Intent(context=1), brand_new_flag=1)
    assert "checked against 0.33.0" in notes(outcome)["engine.version"]
    assert outcome.arguments == {"max-model-len": 1, "brand-new-flag": 1}


def test_parts_of_json_flags_may_be_said_alone():
    outcome = rendered("0.32.0", **{"compilation_config.cudagraph_mode": "NONE"})
    command = VLLM.command("/e", "/m", outcome.arguments, served_names=["m"], host="127.0.0.1", port=1)
    assert command[-2:] == ["--compilation-config.cudagraph_mode", "NONE"]


def test_switches_are_negated_where_the_release_can():
    assert rendered("0.32.0", enforce_eager=False).arguments == {"enforce-eager": False}
    assert rendered("0.8.5", enforce_eager=False).arguments == {"enforce-eager": None}


def test_a_model_without_weights_runs_in_the_engine_core_on_cpu():
    dummy = Intent(load_format="dummy")
    assert rendered("0.32.0", dummy, "cpu").environment == {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    assert rendered("0.32.0", dummy).environment == {}
    assert rendered("0.32.0", Intent(), "cpu").environment == {}


@pytest.mark.parametrize("name", GONE)
def test_every_flag_that_went_is_answered_from_the_release_that_lost_it_on(name: str):
    spans = flags("vllm", "0.32.0").releases_with(name)
    if spans:
        order = [Version(version) for version in RELEASES]
        lost = order[order.index(Version(spans[0][1])) + 1]
        assert Version(GONE[name].since) <= lost


@pytest.mark.parametrize("version", ["0.8.5", "0.10.1.1", "0.14.0", "0.33.0"])
def test_what_flags_are_rendered_as_exists_in_that_release(version: str):
    for name, gone in GONE.items():
        if Version(version) >= Version(gone.since):
            for value in (True, "1"):
                assert all(flags("vllm", version).find(new) for new in gone.render(value) or {}), name


def test_owned_flags_exist_in_some_release():
    known = flags("vllm", "0.32.0")
    assert [name for name in OWNED if not known.releases_with(name)] == ["kv-cache-memory"]  # an abbreviation of hints


@pytest.mark.parametrize(
    ("version", "intent", "said"),
    [
        ("0.32.0", Intent(quantization="bitsandbytes"), "0.8.5 to 0.27.1 do"),
        ("0.32.0", Intent(load_format="gguf"), "which vllm 0.32.0 does not take; 0.8.5 to 0.23.0 do"),
        ("0.10.1.1", Intent(quantization="nonsense"), "must be one of auto-round, awq, awq_marlin"),
        ("0.10.1.1", Intent(dtype="int8"), "must be one of auto, bfloat16, float, float16, float32, half"),
    ],
)
def test_choices_are_those_of_the_release(version: str, intent: Intent, said: str):
    [text] = refusals(rendered(version, intent)).values()
    assert said in text


@pytest.mark.parametrize("said", ["image=2", "[1]", "3"])
def test_a_replaced_flag_cannot_join_what_is_no_mapping(said: str):
    found = refusals(rendered("0.32.0", hf_overrides=said, rope_theta=1))
    assert "must be said once" in found["args.rope_theta"]
