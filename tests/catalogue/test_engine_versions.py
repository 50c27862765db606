"""What the catalogue knows of engine releases, and that it agrees with what was noted by hand from change logs."""

from __future__ import annotations

import time

import pytest
from packaging.version import Version

from berth.catalogue import engine_versions
from berth.catalogue.engine_versions import Flags, architecture_range, flags, newest, quantization_floor, release, rows

VLLM_VERSIONS = engine_versions._releases_read("vllm")


def having(name: str) -> set[str]:
    return {version for version in VLLM_VERSIONS if flags("vllm", version).find(name) is not None}


def since(first: str, before: str | None = None) -> set[str]:
    """Releases from `first` to the one before `before`."""
    return {
        version
        for version in VLLM_VERSIONS
        if Version(first) <= Version(version) and (before is None or Version(version) < Version(before))
    }


BY_HAND = [
    # (flag, first release with it, first release without it), from release notes and pull requests
    ("use-v2-block-manager", "0.8.5", "0.10.0"),
    ("num-scheduler-steps", "0.8.5", "0.10.1"),
    ("multi-step-stream-outputs", "0.8.5", "0.10.1"),
    ("enable-reasoning", "0.8.5", "0.10.0"),
    ("enable-log-requests", "0.10.1", None),
    ("runner", "0.10.1", None),
    ("convert", "0.10.1", None),
    ("task", "0.8.5", "0.13.0"),
    ("guided-decoding-backend", "0.8.5", "0.12.0"),
    ("structured-outputs-config", "0.11.0", None),
    ("preemption-mode", "0.8.5", "0.11.0"),
    ("disable-async-output-proc", "0.8.5", "0.11.0"),
    ("scheduler-delay-factor", "0.8.5", "0.11.0"),
    ("max-seq-len-to-capture", "0.8.5", "0.11.0"),
    ("num-lookahead-slots", "0.8.5", "0.12.0"),
    ("swap-space", "0.8.5", "0.18.0"),
    ("kv-cache-memory-bytes", "0.10.2", None),
    ("attention-backend", "0.13.0", None),
    ("enable-sleep-mode", "0.8.5", None),
    ("async-scheduling", "0.10.0", None),
    ("kv-offloading-size", "0.11.1", None),
    ("performance-mode", "0.17.0", None),
    ("moe-backend", "0.17.0", None),
    ("cpu-offload-gb", "0.8.5", None),
    ("enable-lora", "0.8.5", None),
    ("num-gpu-blocks-override", "0.8.5", None),
    ("model-impl", "0.8.5", None),
    ("speculative-config", "0.8.5", None),
]


@pytest.mark.parametrize(("name", "first", "without"), BY_HAND)
def test_extraction_agrees_with_the_hand_list(name: str, first: str, without: str | None):
    assert having(name) == since(first, without)


# Where the two differ the packages are right: --disable-log-requests stayed, deprecated, until 0.16.0 (the list had
# 0.12.0, read from a pull request's date), and 0.33.0 took the name up again as the inverse of --enable-log-requests.
def test_disable_log_requests_stayed_longer_than_noted():
    assert having("disable-log-requests") == since("0.8.5", "0.17.0") | since("0.33.0")


@pytest.mark.parametrize(("version", "default"), [("0.8.5", 0.9), ("0.19.1", 0.9), ("0.20.0", 0.92), ("0.32.0", 0.92)])
def test_the_default_share_changed_with_0_20(version: str, default: float):
    flag = flags("vllm", version).find("gpu_memory_utilization")
    assert flag is not None
    assert flag.default == default


def test_at_least_eight_releases_were_read():
    assert {"0.8.5", "0.10.1", "0.10.1.1", "0.10.2", "0.11.0", "0.32.0", "0.33.0"} <= set(VLLM_VERSIONS)
    assert len(VLLM_VERSIONS) >= 40
    assert list(VLLM_VERSIONS) == sorted(VLLM_VERSIONS, key=Version)


def test_spellings():
    table = flags("vllm", "0.32.0")
    assert table.find("--max_model_len") is table.find("max-model-len")
    tensor = table.find("tp")
    assert tensor is not None
    assert tensor.name == "tensor-parallel-size"
    assert table.find("nothing") is None


@pytest.mark.parametrize(
    ("version", "read_from", "exact"),
    [("0.10.1.1", "0.10.1.1", True), ("0.8.4", "0.8.5", False), ("0.14.2", "0.14.1", False), ("1.0", "0.33.0", False)],
)
def test_releases_that_were_not_read_use_the_nearest(version: str, read_from: str, exact: bool):
    table = flags("vllm", version)
    assert (table.read_from, table.exact) == (read_from, exact)


def test_gaps_between_releases_that_have_a_flag_show():
    table: Flags = flags("vllm", "0.32.0")
    assert table.releases_with("disable_log_requests") == [("0.8.5", "0.16.0"), ("0.33.0", "0.33.0")]
    assert table.releases_with("nothing") == []


@pytest.mark.parametrize(
    ("engine", "version", "capability", "kernels"),
    [
        ("vllm", "0.8.5", (12, 0), None),
        ("vllm", "0.9.0", (12, 0), "ptx"),
        ("vllm", "0.9.2", (12, 0), "native"),
        ("vllm", "0.10.1.1", (8, 6), "native"),
        ("vllm", "0.19.1", (7, 0), "native"),
        ("vllm", "0.20.0", (7, 0), None),
        ("sglang", "0.5.1", (12, 0), None),
        ("sglang", "0.5.2", (12, 0), "native"),
        ("tgi", "3.3.7", (7, 5), None),
    ],
)
def test_kernels(engine: str, version: str, capability: tuple[int, int], kernels: str | None):
    built = release(engine, version)
    assert built is not None
    assert built.kernels_for(capability) == kernels


def test_images_and_their_cuda():
    built = release("vllm", "0.31.0")
    assert built is not None
    assert (built.image, built.cuda.version, str(built.cuda.minor)) == ("vllm/vllm-openai:v0.31.0", "13.0", "580.65.6")
    assert [(cuda.version, image) for cuda, image in built.variants] == [("12.9", "vllm/vllm-openai:v0.31.0-cu129")]
    assert release("vllm", "0.5.0") is None


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi"])
def test_every_row_of_every_engine_can_be_read(engine: str):
    assert [Version(row.version) for row in rows(engine)] == sorted(Version(row.version) for row in rows(engine))
    assert flags(engine, newest(engine)).exact


def test_the_newest_for_cpu_is_its_own():
    assert newest("vllm", "cpu") == "0.32.0"
    assert newest("tgi", "cpu") == newest("tgi")


@pytest.mark.parametrize(
    ("architecture", "span"),
    [
        ("LlamaForCausalLM", ("0.6.0", None)),
        ("DotsOCRForCausalLM", ("0.11.0", None)),
        ("GptOssForCausalLM", ("0.10.1", None)),
        ("Qwen3ForCausalLM", ("0.8.4", None)),
        ("Glm4MoeForCausalLM", ("0.10.0", None)),
        ("MllamaForConditionalGeneration", ("0.6.2", "0.10.2")),
        ("NoSuchForCausalLM", None),
    ],
)
def test_architectures(architecture: str, span: tuple[str, str | None] | None):
    assert architecture_range("vllm", architecture) == span


def test_quantizations_ask_for_less_in_later_releases():
    assert quantization_floor("0.10.1.1", "fp8") == (8, 0)
    assert quantization_floor("0.14.0", "fp8") == (7, 5)
    assert quantization_floor("0.32.0", "gguf") is None
    assert quantization_floor("0.10.1.1", "nothing") is None


def test_the_table_of_a_release_is_read_in_no_time():
    for cached in (engine_versions._read, engine_versions._all_flags, engine_versions._table):
        cached.cache_clear()
    begin = time.perf_counter()
    flags("vllm", "0.32.0")
    assert time.perf_counter() - begin < 0.2
