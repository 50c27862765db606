"""The ways in which vLLM fails to start, by its own log lines, and what each means.

Texts are vLLM's, PyTorch's and huggingface_hub's; releases before 0.11 word some differently, so patterns hold to the
parts that stayed. The more telling stand first: a failed start prints several of them one after the other.
"""

from __future__ import annotations

from berth.engines.contract import Failure
from berth.engines.cuda_failures import CUDA_FAILURES
from berth.engines.hub_failures import HUB_FAILURES
from berth.engines.process_failures import PROCESS_FAILURES

_GIB = r"[\d.]+"

_INSTALLATION = (
    Failure(
        name="engine-missing",
        pattern=r"No module named '?vllm'?|vllm: (?:command )?not found|No package metadata was found for vllm",
        cause="vLLM is not installed completely in its environment",
        cure="run `pulumi up` again, which repairs the environment",
    ),
    Failure(
        name="libnuma-missing",
        pattern=r"'_OpNamespace' '_C' object has no attribute 'init_cpu_memory_env'",
        cause="vLLM's CPU build cannot load its own code: the machine lacks libnuma.so.1",
        cure="install that library there (Debian, Ubuntu: libnuma1; Fedora, Rocky: numactl-libs)",
    ),
)

_MODEL = (
    Failure(
        name="remote-code",
        pattern=r"contains custom code which must be executed|requires you to execute the (?:configuration|model) file"
        r"|setting `trust_remote_code=True`",
        cause="the model brings its own Python code, which is not run unless you say so",
        cure="read that code, pin the model's revision and set `trust_remote_code: true`",
    ),
    Failure(
        name="unknown-architecture",
        pattern=r"Model architectures \[(?P<architectures>[^\]]*)\] (?:are not supported|failed to be inspected)",
        cause="this version of vLLM does not know the model's architecture {architectures}",
        cure="use a newer engine version; the catalogue names the first that has it",
    ),
    Failure(
        name="unknown-architecture",
        pattern=r"model type `(?P<type>[^`]*)` but Transformers does not recognize",
        cause="this version of vLLM, or its Transformers library, does not know the model type {type}",
        cure="use a newer engine version; the catalogue names the first that has it",
    ),
    Failure(
        name="context-too-long",
        pattern=r"max_model_len \((?P<context>\d+)\) is greater than the derived max_model_len "
        r"\(.*?[=: ](?P<limit>\d+)",
        cause="the context of {context} tokens is longer than the {limit} the model was made for",
        cure="lower `context` to {limit}",
    ),
    Failure(
        name="heads-not-divisible",
        pattern=r"(?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<ranks>\d+)\)",
        cause="the model's {heads} attention heads cannot be divided among {ranks} GPUs",
        cure="choose a tensor parallel size that divides {heads}",
    ),
    Failure(
        name="no-weights",
        pattern=r"Cannot find any model weights with `?(?P<model>[^`\s]+)",
        cause="the model folder {model} has a configuration but no weights of the expected format",
        cure="finish the download, or name the format with `load_format`",
    ),
    Failure(
        name="broken-weights",
        pattern=r"SafetensorError|Error while deserializing header|MetadataIncompleteBuffer|HeaderTooLarge",
        cause="a weights file is incomplete or damaged",
        cure="delete that file and run `pulumi up` again to download it anew",
    ),
    Failure(
        name="weights-missing-parts",
        pattern=r"[Ff]ollowing weights were not initialized from",
        cause="the checkpoint lacks weights that the model needs",
        cure="check that the download is complete and that quantization and load format are the checkpoint's",
    ),
)

_MEMORY = (
    Failure(
        name="card-occupied",
        pattern=rf"Free memory on device\s*(?P<device>\S*)\s*\((?P<free>{_GIB})/(?P<total>{_GIB}) GiB\) on startup is "
        rf"less than .*?\((?P<share>{_GIB}), (?P<wanted>{_GIB}) GiB\)",
        cause="{free} of {total} GiB are free on the card and the engine's share of {share} asks for {wanted} GiB",
        cure="lower the share, or free the card: `nvidia-smi` names the processes on it",
    ),
    Failure(
        name="context-larger-than-cache",
        pattern=rf"max seq len \((?P<context>\d+)\), \((?P<needed>{_GIB}) GiB KV cache is needed, which is larger than "
        rf"the available KV cache memory \((?P<available>{_GIB}) GiB\)"
        r".*?estimated maximum model length is (?P<possible>\d+)",
        cause="one request of {context} tokens needs {needed} GiB of KV cache, {available} GiB are left",
        cure="lower `context` to {possible}, which the engine says fits, or raise the share",
    ),
    Failure(
        name="context-larger-than-cache",
        pattern=rf"max seq len \((?P<context>\d+)\), \((?P<needed>{_GIB}) GiB KV cache is needed, which is larger than "
        rf"the available KV cache memory \((?P<available>{_GIB}) GiB\)",
        cause="one request of {context} tokens needs {needed} GiB of KV cache, {available} GiB are left",
        cure="lower `context` or raise the share",
    ),
    Failure(
        name="context-larger-than-cache",
        pattern=r"max seq len \((?P<context>\d+)\) is larger than the maximum number of tokens that can be stored in "
        r"KV cache \((?P<possible>\d+)\)",
        cause="the context of {context} tokens does not fit the KV cache, which holds {possible}",
        cure="lower `context` to {possible} or raise the share",
    ),
    Failure(
        name="no-cache-memory",
        pattern=r"No available memory for the cache blocks",
        cause="after weights and activations nothing of the engine's share is left for the KV cache",
        cure="raise the share, or lower max_num_batched_tokens, or use a quantized model",
    ),
    Failure(
        name="memory-changed-while-profiling",
        pattern=r"Error in memory profiling",
        cause="another process freed GPU memory while the engine measured its own",
        cure="start engines of one card one after the other (Berth does); stop what else uses the card",
    ),
    Failure(
        name="out-of-memory-sampler",
        pattern=r"CUDA out of memory occurred when warming up sampler with (?P<rows>\d+) dummy requests",
        cause="the sampler's warm-up with {rows} requests did not fit",
        cure="lower `concurrency` (max_num_seqs) or the share",
    ),
    Failure(
        name="host-memory",
        pattern=rf"Available memory on node \d+ \((?P<free>{_GIB})/(?P<total>{_GIB}) GiB\) on (?:kv cache allocation"
        r"|startup) is less than",
        cause="{free} of the host's {total} GiB of memory are free, which is less than the engine on CPU wants",
        cure="give it a smaller KV cache (`kv_cache`) or free memory",
    ),
)

VLLM_FAILURES: tuple[Failure, ...] = (
    *_INSTALLATION,
    *_MEMORY,
    *_MODEL,
    *PROCESS_FAILURES,
    *CUDA_FAILURES,
    *HUB_FAILURES,
)
"""Every failure that is known; single causes stand before those that other causes bring along."""
