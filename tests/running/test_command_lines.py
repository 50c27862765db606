"""Command lines that people write for engines, read back into what a stack file says."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from berth.catalogue.secrets import secret
from berth.engines.contract import Adapter, Intent, flags
from berth.engines.registry import ENGINES
from berth.running import Meaning, meaning, read

CARD = 31 * 2**30
ONE = {"name": "one", "source": {"path": "/l/one"}}

LINES: list[tuple[str, str, dict[str, Any]]] = [
    (
        "vllm serve a/b --max-model-len 4k --max-num-seqs=8 -tp 2 --no-enable-prefix-caching",
        "0.11.0",
        {
            "context": 4000,
            "concurrency": 8,
            "parallel": {"tensor": 2},
            "args": {"enable_prefix_caching": False},
        },
    ),
    (
        "python3 -m vllm.entrypoints.openai.api_server --model a/b --dtype=half --swap-space 4 --enforce_eager",
        "0.10.1.1",
        {"dtype": "half", "args": {"swap_space": 4, "enforce_eager": True}},
    ),
    (
        "vllm serve a/b --limit-mm-per-prompt '{\"image\": 2}' --hf-overrides '{\"a\": 1}' --cpu-offload-gb 1.5",
        "0.11.0",
        {"images_per_prompt": 2, "cpu_offload": 3 * 2**29, "args": {"hf_overrides": {"a": 1}}},
    ),
    (
        "vllm serve a/b --enable-lora --lora-modules one=/l/one two=/l/two --max-loras 2",
        "0.11.0",
        {
            "lora": {
                "adapters": [
                    {"name": "one", "source": {"path": "/l/one"}},
                    {"name": "two", "source": {"path": "/l/two"}},
                ],
                "max_loras": 2,
            }
        },
    ),
    ("vllm serve a/b --kv-cache-memory-bytes 1G", "0.11.0", {"kv_cache": 2**30}),
    ("vllm serve a/b --kv-cache-memory-bytes 1.5g", "0.11.0", {"kv_cache": 1_500_000_000}),
    ("vllm serve a/b --lora-modules=one=/l/one", "0.11.0", {"lora": {"adapters": [ONE]}}),
    ("vllm serve a/b --max-model-len -1 --dtype auto --task auto", "0.11.0", {}),
    ("vllm serve a/b --runner pooling --convert classify", "0.11.0", {"task": "classify"}),
    ("vllm serve a/b --no-such-flag 7", "0.11.0", {"unchecked_args": {"no_such_flag": 7}}),
    (
        "vllm serve a/b --num-scheduler-steps 8 --block-size 7 --speculative-model x",  # dropped or refused
        "0.17.0",
        {"args": {"num_scheduler_steps": 8}, "unchecked_args": {"block_size": 7, "speculative_model": "x"}},
    ),
    ("vllm serve a/b --use-v2-block-manager", "0.10.1.1", {"args": {"use_v2_block_manager": True}}),
    (
        "python3 -m sglang.launch_server --model-path a/b --tp 2 --context-length 4096 --disable-radix-cache",
        "0.5.9",
        {"parallel": {"tensor": 2}, "context": 4096, "args": {"disable_radix_cache": True}},
    ),
    (
        "/tgi-entrypoint.sh --model-id a/b --max-total-tokens 2048 --max-input-tokens 2047 --quantize awq",
        "3.3.7",
        {"context": 2048, "quantization": "awq"},
    ),
]


def said(line: str, version: str, **environment: str) -> Meaning:
    found = read(shlex.split(line), environment, version)
    assert found is not None, line
    return meaning(found, CARD)


@pytest.mark.parametrize(("line", "version", "says"), LINES, ids=[line[:60] for line, _, _ in LINES])
def test_a_command_line_means(line: str, version: str, says: dict[str, Any]) -> None:
    found = said(line, version)
    assert (found.says, found.model, found.remarks) == (says, "a/b", ())


@pytest.mark.parametrize(
    ("name", "version", "intent"),
    [
        ("vllm", version, intent)
        for version in ("0.10.1.1", "0.11.0", "0.32.0")
        for intent in (
            Intent(context=2048, concurrency=16, dtype="float16", share=0.45),
            Intent(tensor_parallel=2, pipeline_parallel=2, trust_remote_code=True, quantization="awq"),
            Intent(lora=(Adapter(name="x", path="/x"),), max_loras=2, max_lora_rank=32, images_per_prompt=3),
            Intent(task="embed", kv_cache_dtype="fp8", load_format="safetensors", cpu_offload=4 * 2**30),
        )
    ]
    + [
        ("sglang", "0.5.9", Intent(context=4096, concurrency=8, share=0.8, card_memory=CARD, tensor_parallel=2)),
        ("sglang", "0.5.9", Intent(dtype="bfloat16", trust_remote_code=True, task="embed", images_per_prompt=1)),
        ("tgi", "3.3.7", Intent(context=4096, concurrency=8, share=0.8, dtype="float16", tensor_parallel=2)),
        ("tgi", "3.3.7", Intent(quantization="awq", trust_remote_code=True)),
    ],
)
def test_what_berth_renders_it_reads_back(name: str, version: str, intent: Intent) -> None:
    engine = ENGINES[name]
    rendered = engine.render(intent, {}, version=version, device="cuda")
    assert [note for note in rendered.notes if note.severity == "refusal"] == []
    words = engine.command(
        None, "org/model", rendered.arguments, served_names=["one", "two"], host="127.0.0.1", port=8123
    )
    line = read(words, {}, version)
    assert line is not None
    assert (line.engine, line.left, line.unknown) == (name, 0, frozenset())
    found = meaning(line, CARD)
    assert (found.model, found.port) == ("org/model", 8123)
    assert found.names == (() if name == "tgi" else ("one", "two") if name == "vllm" else found.names)
    expected = {
        "context": intent.context,
        "concurrency": intent.concurrency,
        "dtype": None if intent.dtype == "auto" else intent.dtype,
        "share": intent.share,
        "quantization": intent.quantization,
        "kv_cache_dtype": intent.kv_cache_dtype,
        "load_format": intent.load_format,
        "cpu_offload": intent.cpu_offload,
        "images_per_prompt": intent.images_per_prompt,
        "task": intent.task,
        "trust_remote_code": intent.trust_remote_code or None,
        "parallel": {
            key: ranks
            for key, ranks in (("tensor", intent.tensor_parallel), ("pipeline", intent.pipeline_parallel))
            if ranks > 1
        }
        or None,
        "lora": {"adapters": [{"name": "x", "source": {"path": "/x"}}], "max_loras": 2, "max_rank": 32}
        if intent.lora
        else None,
    }
    assert {key: value for key, value in found.says.items() if key != "args"} == {
        key: value for key, value in expected.items() if value is not None
    }


def test_a_shell_s_command_is_looked_into() -> None:
    found = said("sh -c 'cd /x && exec vllm serve $MODEL --port ${PORT} | tee log'", "0.11.0", MODEL="a/b", PORT="9000")
    assert (found.model, found.port) == ("a/b", 9000)


def test_tgi_takes_its_flags_from_variables() -> None:
    found = said("/tgi-entrypoint.sh --num-shard 2", "3.3.7", MODEL_ID="a/b", PORT="8080", NUM_SHARD="4")
    assert (found.model, found.port, found.says) == ("a/b", 8080, {"parallel": {"tensor": 2}})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "vllm bench serve",
        "python3 -m vllm.entrypoints.api_server",
        "grep vllm serve",
        "docker exec one vllm serve a/b",
        "nginx: master process /usr/sbin/nginx",
        "tail -f --pid 1 vllm serve",
    ],
)
def test_what_is_no_engine_is_none(line: str) -> None:
    assert read(shlex.split(line), {}) is None


def test_a_quote_that_does_not_end_is_no_engine() -> None:
    assert read(["sh", "-c", 'echo "vllm serve'], {}) is None


def test_secrets_are_left_out_and_never_quoted() -> None:
    found = said("vllm serve a/b --api-key sk-live --foo-token=abc --ssl-keyfile /k --proxy http://me:pw@x/", "0.11.0")
    assert found.says == {"args": {"ssl_keyfile": "/k"}}
    for value in ("sk-live", "abc", "pw"):
        assert value not in repr(found)
    assert len(found.remarks) == 3


@pytest.mark.parametrize(
    ("name", "value", "is_one"),
    [
        ("HF_TOKEN", "x", True),
        ("api-key", "x", True),
        ("MY_PASSWORD", "x", True),
        ("aws_secret_access_key", "x", True),
        ("HTTPS_PROXY", "http://me:pw@proxy", True),
        ("max-num-batched-tokens", 4096, False),
        ("tokenizer", "x", False),
        ("ssl-keyfile", "/x", False),
        ("api-key", True, False),
        ("OPENAI_APIKEY", "sk-live", True),
        ("DB_PASS", "x", True),
        ("MYSQL_PWD", "x", True),
        ("GITHUB_PAT", "x", True),
        ("SENTRY_DSN", "x", True),
        ("AWS_CREDS", "x", True),
        ("API_KEYS", "a,b", True),
        ("HFTOKEN", "x", True),
        ("apiKey", "x", True),
        ("ALLOWED_TOKENS", "abc", True),
        ("password", 12345, True),
        ("loader.password", "x", True),
        ("x", "hf_abcdefghijklmnop", True),
        ("x", "sk-live", True),
        ("x", "ghp_abcdefghijkl", True),
        ("x", {"a": {"authToken": "t"}}, True),
        ("x", [{"a": {"passwords": ["t"]}}], True),
        ("x", '{"a": {"token": "t"}}', True),
        ("x", "{'a': {'token': 't'}", True),
        ("x", '{"a": "{\\"token\\": \\"t\\"}"}', True),
        ("x", "http://x/?token=t", True),
        ("VLLM_MAX_TOKENS", "4096", False),
        ("max-num-batched-tokens", "4k", False),
        ("x", {"eos_token_id": 2, "pad_token": "</s>"}, False),
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True", False),
        ("forward-pass-metrics-worker-id", "x", False),
        ("speculative-token-map", "/x", False),
        ("model", "org/sk-small/model", False),
    ],
)
def test_what_looks_like_a_secret(name: str, value: object, is_one: bool) -> None:
    assert secret(name, value) is is_one


@pytest.mark.parametrize(
    "flag",
    [
        """--kv-transfer-config '{"kv_connector_extra_config": {"token": "s3cret"}}'""",
        """--hf-overrides '{"auth_token": "s3cret"}'""",
        "--model-loader-extra-config.password s3cret",
        "--no-such-config.password s3cret",
        """--no-such-config '{"password": "s3cret"}'""",
        "--tokenizer http://me:s3cret@x/",
        "--lora-modules one=http://me:s3cret@x/",
    ],
)
def test_a_secret_within_a_value_is_left_out_too(flag: str) -> None:
    found = said(f"vllm serve a/b {flag}", "0.11.0")
    assert "s3cret" not in repr(found)
    assert found.says == {}
    assert [one.partition(" is left out: it looks like a secret")[0] for one in found.remarks] == [
        flag.partition(" ")[0]
    ]


@pytest.mark.parametrize("value", ["1X", "much", "", "1e999", "9" * 5000, "1.5.5"])
@pytest.mark.parametrize("flag", ["kv-cache-memory-bytes", "max-model-len", "gpu-memory-utilization"])
def test_a_number_that_is_none_is_a_remark(flag: str, value: str) -> None:
    found = said(f"vllm serve a/b --{flag}={value}", "0.11.0")
    assert (found.says, len(found.remarks)) == ({}, 1)


def test_flags_render_and_read_are_inverse_for_values_of_all_kinds() -> None:
    arguments = {"max-model-len": 12, "gpu-memory-utilization": 0.5, "enforce-eager": True, "dtype": "auto"}
    found = read(["vllm", "serve", "m", *flags(arguments)], {}, "0.11.0")
    assert found is not None
    assert dict(found.flags) == arguments
