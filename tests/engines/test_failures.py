"""What log lines of failed starts are taken to mean. The lines are recorded from real starts, paths shortened."""

from __future__ import annotations

import re

import pytest

from berth.engines.contract import Engine
from berth.engines.sglang import SGLANG
from berth.engines.tgi import TGI
from berth.engines.vllm import VLLM

# ruff: noqa: E501 - recorded lines stay as they were printed

VLLM_LINES = [
    ("unknown-argument", "vllm: error: unrecognized arguments: --use-v2-block-manager", "--use-v2-block-manager"),
    ("wrong-argument", "vllm serve: error: argument --kv-cache-dtype: invalid choice: 'fp99' (choose from 'auto', 'bfloat16')", "fp99"),
    ("port-in-use", "OSError: [Errno 98] Address already in use", "port"),
    ("port-in-use", "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8001): address already in use", "port"),
    ("model-missing", "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/nothere'. Use `repo_type` argument if needed.", "config.json"),
    ("model-missing", "  Value error, Invalid repository ID or local directory specified: '/models/empty'.", "config.json"),
    ("model-missing", "OSError: /models/x does not appear to have a file named config.json. Checkout 'https://huggingface.co//models/x/tree/main' for available files.", "config.json"),
    ("context-too-long", "  Value error, User-specified max_model_len (9000) is greater than the derived max_model_len (max_position_embeddings=8192 or model_max_length=None in model's config.json).", "lower `context` to 8192"),
    ("card-occupied", "ValueError: Free memory on device (5.12/31.36 GiB) on startup is less than desired GPU memory utilization (0.45, 14.11 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.", "5.12 of 31.36 GiB"),
    ("card-occupied", "ValueError: Free memory on device cuda:0 (5.12/31.36 GiB) on startup is less than desired GPU memory utilization (0.45, 14.11 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.", "14.11 GiB"),
    ("no-cache-memory", "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.", "raise the share"),
    ("context-larger-than-cache", "ValueError: The model's max seq len (20000) is larger than the maximum number of tokens that can be stored in KV cache (12352). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.", "12352"),
    ("context-larger-than-cache", "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is needed, which is larger than the available KV cache memory (5.51 GiB). Based on the available memory, the estimated maximum model length is 45120. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.", "lower `context` to 45120"),
    ("context-larger-than-cache", "ValueError: To serve at least one request with the model's max seq len (8192), (0.02 GiB KV cache is needed, which is larger than the available KV cache memory (0.0 GiB). Try increasing `gpu_memory_utilization`", "0.02 GiB"),
    ("memory-changed-while-profiling", "AssertionError: Error in memory profiling. Initial free memory 12.1 GiB, current free memory 14.2 GiB. This happens when other processes sharing the same container release GPU memory while vLLM is profiling during initialization.", "one after the other"),
    ("out-of-memory-sampler", "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.", "1024"),
    ("out-of-memory", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 462.00 MiB. GPU 0 has a total capacity of 23.57 GiB of which 203.44 MiB is free.", "462.00 MiB"),
    ("no-kernels", "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device", "0.9.2"),
    ("no-kernels", "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.", "0.9.2"),
    ("driver-too-old", "RuntimeError: The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver", "580"),
    ("driver-too-old", "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version", "driver"),
    ("no-card", "RuntimeError: No CUDA GPUs are available", "toolkit"),
    ("no-bfloat16", "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla V100-SXM2-16GB GPU has compute capability 7.0.", "float16"),
    ("quantization-not-on-card", "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum capability: 89. Current capability: 75.", "fp8"),
    ("gated", "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1)", "token"),
    ("gated", "OSError: You are trying to access a gated repo. Access to model meta-llama/Llama-3.1-8B-Instruct is restricted. You must be authenticated to access it.", "conditions"),
    ("unauthorized", "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/api/models/x", "token"),
    ("too-many-requests", "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/x", "minutes"),
    ("offline", "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.", "network"),
    ("unknown-architecture", "  Value error, Model architectures ['DotsOCRForCausalLM'] are not supported for now. Supported architectures: dict_keys(['ApertusForCausalLM'])", "DotsOCRForCausalLM"),
    ("unknown-architecture", "The checkpoint you are trying to load has model type `qwen9` but Transformers does not recognize this architecture.", "qwen9"),
    ("heads-not-divisible", "  Value error, Total number of attention heads (2) must be divisible by tensor parallel size (3).", "2 attention heads"),
    ("no-weights", "RuntimeError: Cannot find any model weights with `/models/noweights`", "/models/noweights"),
    ("remote-code", "  Value error, The repository x contains custom code which must be executed to correctly load the model.", "trust_remote_code: true"),
    ("host-memory", "ValueError: Available memory on node 0 (8.9/11.09 GiB) on kv cache allocation is less than requested memory for kv (838.19 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other processes.", "8.9"),
    ("disk-full", "OSError: [Errno 28] No space left on device", "disk"),
    ("too-many-files", "OSError: [Errno 24] Too many open files: '/proc/stat'", "65536"),
    ("nccl", "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:268, unhandled system error", "shm_size"),
    ("libnuma-missing", "AttributeError: '_OpNamespace' '_C' object has no attribute 'init_cpu_memory_env'", "libnuma1"),
    ("engine-missing", "importlib.metadata.PackageNotFoundError: No package metadata was found for vllm", "pulumi up"),
]  # fmt: skip

OTHER_LINES = [
    (SGLANG, "share-too-small", "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", "share"),
    (SGLANG, "no-kernels", "RuntimeError: CUDA error: no kernel image is available for execution on the device", "kernels"),
    (SGLANG, "unknown-argument", "launch_server.py: error: unrecognized arguments: --foo", "--foo"),
    (TGI, "prefill-memory", "RuntimeError: Not enough memory to handle 4096 prefill tokens. You need to decrease `--max-batch-prefill-tokens`", "4096"),
    (TGI, "unknown-argument", "error: unexpected argument '--foo' found", "--foo"),
    (TGI, "wrong-argument", "error: invalid value 'x' for '--max-batch-size <MAX_BATCH_SIZE>': invalid digit found in string", "x as the value of --max-batch-size"),
    (TGI, "unsupported-model", "ValueError: Unsupported model type qwen9", "qwen9"),
    (TGI, "gated", "Cannot access gated repo for url https://huggingface.co/x", "token"),
]  # fmt: skip

INNOCENT = [
    "(APIServer pid=1) WARNING system_utils.py:255 Found ulimit of 20000 and failed to automatically increase. This can cause fd limit errors like `OSError: [Errno 24] Too many open files`. Consider increasing with ulimit -n",
    "(Worker pid=1) WARNING cpu_worker.py:114 libtcmalloc is not found in LD_PRELOAD.",
    "(EngineCore pid=1) INFO core.py:133 Initializing a V1 LLM engine (v0.32.0) with config: model='/m', trust_remote_code=False, dtype=torch.float32",
    "Triton is installed, but doesn't include CPU backend. Disabling Triton.",
]


@pytest.mark.parametrize(("name", "line", "said"), VLLM_LINES)
def test_vllm_lines(name: str, line: str, said: str):
    found = VLLM.explain(["INFO something before", line, "INFO something after"])
    assert found is not None
    assert found.name == name
    assert said in str(found)
    assert not re.search(r"\{\w+\}", str(found))


@pytest.mark.parametrize(("engine", "name", "line", "said"), OTHER_LINES)
def test_lines_of_other_engines(engine: Engine, name: str, line: str, said: str):
    found = engine.explain([line])
    assert found is not None
    assert found.name == name
    assert said in str(found)


@pytest.mark.parametrize("engine", [VLLM, SGLANG, TGI])
@pytest.mark.parametrize("line", INNOCENT)
def test_lines_of_good_starts_mean_nothing(engine: Engine, line: str):
    assert engine.explain([line]) is None
    assert not engine.startup_terminal(line)


def test_the_telling_line_wins_over_what_follows_it():
    lines = [line for name, line, _ in VLLM_LINES if name in {"card-occupied", "out-of-memory"}]
    found = VLLM.explain([*reversed(lines), "RuntimeError: Engine core initialization failed. See root cause above."])
    assert found is not None
    assert found.name == "card-occupied"


@pytest.mark.parametrize(
    ("engine", "line", "status"),
    [
        (VLLM, "(APIServer pid=1) INFO api_utils.py:347  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0", "starting vLLM"),
        (VLLM, "(APIServer pid=1) INFO model.py:733 Resolved architecture: LlamaForCausalLM", "reading the model"),
        (VLLM, "(EngineCore pid=1) INFO core.py:133 Initializing a V1 LLM engine (v0.32.0) with config: model='/m'", "starting the engine"),
        (VLLM, "(Worker pid=1) INFO cpu_model_runner.py:68 Starting to load model /m...", "loading weights"),
        (VLLM, "Loading safetensors checkpoint shards:  75% Completed | 3/4 [00:01<00:00,  2.39it/s]", "loading weights 3/4"),
        (VLLM, "INFO gpu_model_runner.py:2653 Model loading took 14.9889 GiB and 4.0 seconds", "weights loaded"),
        (VLLM, "INFO kv_cache_utils.py:864 GPU KV cache size: 172,784 tokens", "KV cache holds 172,784 tokens"),
        (VLLM, "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  45%|████  | 30/67 [00:01<00:01]", "capturing graphs 30/67"),
        (VLLM, "INFO gpu_model_runner.py:3000 Graph capturing finished in 5 secs, took 0.63 GiB", "graphs captured"),
        (VLLM, "(APIServer pid=1) INFO entry.py:140 Starting vLLM server on http://127.0.0.1:18999", "starting the API server"),
        (VLLM, 'INFO:     127.0.0.1:38994 - "GET /health HTTP/1.1" 200 OK', None),
        (SGLANG, "[2026-01-01] KV Cache is allocated. #tokens: 65536, K size: 4.00 GB, V size: 4.00 GB", "KV cache holds 65536 tokens"),
        (SGLANG, "Capturing batches (bs=1 avail_mem=3.1 GB): 100%|██████| 23/23", "capturing graphs 23/23"),
        (TGI, "INFO text_generation_launcher: Shard ready in 5.2s rank=0", "weights loaded"),
    ],
)  # fmt: skip
def test_progress(engine: Engine, line: str, status: str | None):
    assert engine.progress(line) == status


@pytest.mark.parametrize(
    "line",
    [
        "vllm: error: unrecognized arguments: --x",
        "OSError: [Errno 98] Address already in use",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ],
)
def test_terminal_lines(line: str):
    assert VLLM.startup_terminal(line)
