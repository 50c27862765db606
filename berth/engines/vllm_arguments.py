"""An intent as vLLM's flags, release by release, and what became of flags that releases lost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from berth.engines.arguments import Gone, Owned, Rendering
from berth.engines.contract import Device, Intent, Rendered

_BERTH = "Berth decides it"

OWNED: Mapping[str, Owned] = {
    "max-model-len": Owned(key="context", said="context: 4096"),
    "max-num-seqs": Owned(key="concurrency", said="concurrency: 16"),
    "dtype": Owned(key="dtype", said="dtype: float16"),
    "quantization": Owned(key="quantization", said="quantization: awq"),
    "load-format": Owned(key="load_format", said="load_format: safetensors"),
    "kv-cache-dtype": Owned(key="kv_cache_dtype", said="kv_cache_dtype: fp8"),
    "tensor-parallel-size": Owned(key="parallel", said="parallel: {tensor: 2}"),
    "pipeline-parallel-size": Owned(key="parallel", said="parallel: {pipeline: 2}"),
    "data-parallel-size": Owned(key="parallel", said="parallel: {data: 2}"),
    "enable-expert-parallel": Owned(key="parallel", said="parallel: {expert: true}"),
    "enable-lora": Owned(key="lora", said="lora: {adapters: […]}"),
    "lora-modules": Owned(key="lora", said="lora: {adapters: […]}"),
    "max-loras": Owned(key="lora", said="lora: {max_loras: 4}"),
    "max-lora-rank": Owned(key="lora", said="lora: {max_rank: 16}"),
    "model-impl": Owned(key="model_impl", said="model_impl: transformers"),
    "task": Owned(key="task", said="task: generate"),
    "runner": Owned(key="task", said="task: generate"),
    "convert": Owned(key="task", said="task: embed"),
    "trust-remote-code": Owned(key="trust_remote_code", said="trust_remote_code: true"),
    "cpu-offload-gb": Owned(key="cpu_offload", said="cpu_offload: 4 GiB"),
    "limit-mm-per-prompt": Owned(key="images_per_prompt", said="images_per_prompt: 2"),
    "gpu-memory-utilization": Owned(key="share", said="share: 0.9"),
    "kv-cache-memory-bytes": Owned(key="kv_cache", said="kv_cache: 4 GiB"),
    "kv-cache-memory": Owned(key="kv_cache", said="kv_cache: 4 GiB"),
    "model": Owned(key="source", said="source: {hub: …}"),
    "revision": Owned(key="source", said="source: {hub: …, revision: …}"),
    "served-model-name": Owned(key="aliases", said="aliases: […]"),
    "host": Owned(key=None, said=_BERTH),
    "port": Owned(key=None, said=_BERTH),
    "uds": Owned(key=None, said="the gateway reaches engines by their port"),
    "api-key": Owned(
        key=None, said="a key on a command line is seen by every user of the host; the gateway asks for keys"
    ),
    "hf-token": Owned(
        key=None, said="a token on a command line is seen by every user of the host; write `source: {token: …}`"
    ),
}
"""Flags that a key of the stack file, or Berth, decides."""


def _as_hf_overrides(name: str) -> Gone:
    return Gone(
        since="0.11.1",
        why="it went into hf_overrides",
        render=lambda value: {"hf-overrides": {name: _parsed(value)}},
    )


def _dropped(since: str, why: str) -> Gone:
    return Gone(since=since, why=why)


_V1 = "the engine since 0.11 (V1) does not have what it set"

GONE: Mapping[str, Gone] = {
    "use-v2-block-manager": _dropped("0.6.4", "block manager v2 is the only one since 0.6.4, so it says nothing"),
    "disable-log-requests": Gone(
        since="0.10.1",
        why="requests are logged only where enable_log_requests is true since 0.10.1",
        render=lambda value: {} if value is True else {"enable-log-requests": True},
    ),
    "swap-space": _dropped("0.8.0", "the engine since 0.8 (V1) recomputes preempted requests and swaps nothing"),
    "num-scheduler-steps": _dropped(
        "0.10.1", "multi-step scheduling went with 0.10.1; async_scheduling took its place"
    ),
    "multi-step-stream-outputs": _dropped("0.10.1", "multi-step scheduling went with 0.10.1"),
    "enable-reasoning": _dropped("0.10.0", "reasoning_parser alone is enough since 0.10.0"),
    "guided-decoding-backend": Gone(
        since="0.12.0",
        why="structured_outputs_config took its place",
        render=lambda value: {"structured-outputs-config": {"backend": value}},
    ),
    "override-pooler-config": Gone(
        since="0.12.0", why="it is named pooler_config now", render=lambda value: {"pooler-config": _parsed(value)}
    ),
    "rope-scaling": _as_hf_overrides("rope_scaling"),
    "rope-theta": _as_hf_overrides("rope_theta"),
    "preemption-mode": _dropped("0.11.0", _V1),
    "disable-async-output-proc": _dropped("0.11.0", _V1),
    "scheduler-delay-factor": _dropped("0.11.0", _V1),
    "num-lookahead-slots": _dropped("0.12.0", _V1),
    "max-seq-len-to-capture": _dropped(
        "0.11.0", "graphs are captured by number of tokens now (cudagraph_capture_sizes)"
    ),
    "disable-frontend-multiprocessing": _dropped("0.19.0", "the server always has processes of its own now"),
    "device": _dropped("0.10.0", "the engine finds its device itself; `engine: {device: …}` chooses the build"),
    **{
        name: Gone(
            since="0.8.3",
            why="speculative_config took its place; write speculative_config: {model: …, num_speculative_tokens: …}",
            render=lambda _value: None,
        )
        for name in ("speculative-model", "num-speculative-tokens", "ngram-prompt-lookup-max")
    },
}
"""Flags that went, were renamed or stopped meaning anything."""

_POOLING = {"embed": "embed", "classify": "classify", "score": "classify", "reward": "reward"}
"""Tasks of pooling models and the conversion that makes a generative model one."""

_CPU_KV_FLAG = Version("0.20.0")
"""From this release on the CPU build heeds kv-cache-memory-bytes; before, only VLLM_CPU_KVCACHE_SPACE in GiB."""


def render(
    intent: Intent, args: Mapping[str, Any], *, version: str, device: Device, unchecked: Mapping[str, Any] | None
) -> Rendered:
    """The flags of a vLLM release; see `Engine.render`."""
    rendering = Rendering("vllm", version, owned=OWNED, gone=_gone_by(version))
    _size(rendering, intent)
    _weights(rendering, intent)
    _spread(rendering, intent)
    _memory(rendering, intent, device)
    _task(rendering, intent.task)
    if device == "cpu" and intent.load_format == "dummy":
        # A model without weights is for trying things out: the engine core runs it itself instead of a worker process,
        # on one thread. A third less start time, 0.8 GiB less memory, no core taken for itself.
        rendering.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    rendering.take(args)
    rendering.pass_on(unchecked or {})
    return rendering.done()


def _size(rendering: Rendering, intent: Intent) -> None:
    if intent.context is not None:
        rendering.intend("context", "max-model-len", intent.context)
    if intent.concurrency is not None:
        rendering.intend("concurrency", "max-num-seqs", intent.concurrency)
    if intent.images_per_prompt is not None:
        rendering.intend("images_per_prompt", "limit-mm-per-prompt", {"image": intent.images_per_prompt})
    if intent.prefix_caching is not None:
        rendering.intend("prefix_caching", "enable-prefix-caching", intent.prefix_caching)


def _weights(rendering: Rendering, intent: Intent) -> None:
    if intent.dtype != "auto":
        rendering.intend("dtype", "dtype", intent.dtype)
    if intent.quantization is not None:
        rendering.intend("quantization", "quantization", intent.quantization)
    if intent.load_format not in {None, "auto"}:
        rendering.intend("load_format", "load-format", intent.load_format)
    if intent.model_impl != "auto":
        rendering.intend("model_impl", "model-impl", "vllm" if intent.model_impl == "native" else intent.model_impl)
    if intent.trust_remote_code:
        rendering.intend("trust_remote_code", "trust-remote-code", value=True)
        rendering.warn("trust_remote_code", "is true: Python code that comes with the model runs on the host")
    if intent.lora or intent.max_loras is not None:
        rendering.intend("lora", "enable-lora", value=True)
        if intent.lora:
            rendering.intend("lora", "lora-modules", [f"{adapter.name}={adapter.path}" for adapter in intent.lora])
        rendering.intend("lora", "max-loras", intent.max_loras or 1)
        if intent.max_lora_rank is not None:
            rendering.intend("lora", "max-lora-rank", intent.max_lora_rank)


def _spread(rendering: Rendering, intent: Intent) -> None:
    for name, ranks in (
        ("tensor-parallel-size", intent.tensor_parallel),
        ("pipeline-parallel-size", intent.pipeline_parallel),
        ("data-parallel-size", intent.data_parallel),
    ):
        if ranks > 1:
            rendering.intend("parallel", name, ranks)
    if intent.expert_parallel:
        rendering.intend("parallel", "enable-expert-parallel", value=True)


def _memory(rendering: Rendering, intent: Intent, device: Device) -> None:
    if intent.share is not None and device == "cuda":
        rendering.intend("share", "gpu-memory-utilization", intent.share)
    elif intent.share is not None:
        rendering.warn("share", "is a share of a GPU and says nothing on CPU; write `kv_cache: 1 GiB`")
    if intent.kv_cache is not None:
        if device == "cpu" and Version(rendering.version) < _CPU_KV_FLAG:
            rendering.environment["VLLM_CPU_KVCACHE_SPACE"] = str(math.ceil(intent.kv_cache / 2**30))
        else:
            rendering.intend("kv_cache", "kv-cache-memory-bytes", intent.kv_cache)
    if intent.kv_cache_dtype not in {None, "auto"}:
        rendering.intend("kv_cache_dtype", "kv-cache-dtype", intent.kv_cache_dtype)
    if intent.cpu_offload is not None:
        rendering.intend("cpu_offload", "cpu-offload-gb", round(intent.cpu_offload / 2**30, 3))


def _task(rendering: Rendering, task: str | None) -> None:
    """`--task` up to 0.10.0, `--runner` and `--convert` from 0.10.1 on."""
    if task is None:
        return
    if not rendering.has("runner"):
        rendering.intend("task", "task", task)
    elif task in _POOLING:
        rendering.intend("task", "runner", "pooling")
        convert = rendering.table.find("convert")
        if convert is not None and _POOLING[task] in convert.choices:
            rendering.intend("task", "convert", _POOLING[task])
    else:
        rendering.intend("task", "runner", "generate")
    if rendering.has("runner"):
        rendering.note("task", f"{task} is said by --runner and --convert: --task is deprecated since vllm 0.10.1")


def _gone_by(version: str) -> Mapping[str, Gone]:
    """What does not hold in a release: all of `GONE`, and before 0.10.1 the flag that turned the default around."""
    if Version(version) >= Version("0.10.1"):
        return GONE
    log_requests = Gone(
        since="0",
        why="before 0.10.1 requests are logged unless disable_log_requests is true",
        render=lambda value: {} if value is True else {"disable-log-requests": True},
    )
    return {**GONE, "enable-log-requests": log_requests}


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
