"""Text Generation Inference: its launcher, its readiness, its log, and an intent as its flags.

In maintenance since December 2025; 3.3.7 is its last release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from berth.engines.arguments import Gone, Owned, Rendering
from berth.engines.contract import Arguments, Device, Engine, Failure, Intent, PythonPackages, Rendered, flags
from berth.engines.cuda_failures import CUDA_FAILURES
from berth.engines.hub_failures import HUB_FAILURES
from berth.engines.process_failures import PROCESS_FAILURES

_BERTH = "Berth decides it"

_OWNED: Mapping[str, Owned] = {
    "max-total-tokens": Owned(key="context", said="context: 4096"),
    "max-batch-size": Owned(key="concurrency", said="concurrency: 16"),
    "dtype": Owned(key="dtype", said="dtype: float16"),
    "quantize": Owned(key="quantization", said="quantization: awq"),
    "kv-cache-dtype": Owned(key="kv_cache_dtype", said="kv_cache_dtype: fp8_e5m2"),
    "num-shard": Owned(key="parallel", said="parallel: {tensor: 2}"),
    "sharded": Owned(key="parallel", said="parallel: {tensor: 2}"),
    "lora-adapters": Owned(key="lora", said="lora: {adapters: […]}"),
    "trust-remote-code": Owned(key="trust_remote_code", said="trust_remote_code: true"),
    "cuda-memory-fraction": Owned(key="share", said="share: 0.9"),
    "max-batch-total-tokens": Owned(key="kv_cache", said="kv_cache: 4 GiB"),
    "model-id": Owned(key="source", said="source: {hub: …}"),
    "revision": Owned(key="source", said="source: {hub: …, revision: …}"),
    "hostname": Owned(key=None, said=_BERTH),
    "port": Owned(key=None, said=_BERTH),
    "api-key": Owned(
        key=None, said="a key on a command line is seen by every user of the host; the gateway asks for keys"
    ),
    "ngrok": Owned(key=None, said="the gateway is the only door of a stack"),
    "ngrok-authtoken": Owned(key=None, said="the gateway is the only door of a stack"),
}

_GONE: Mapping[str, Gone] = {
    "max-input-length": Gone(
        since="3.0.0", why="it is named max_input_tokens", render=lambda value: {"max-input-tokens": value}
    )
}

_QUANTIZE = {"gptq_marlin": "gptq", "awq_marlin": "awq"}
"""Names of vLLM for what TGI calls otherwise."""

_DTYPES = {"half": "float16", "float16": "float16", "bfloat16": "bfloat16"}

_PAYLOAD = 32 * 2**20
"""Bytes of a request: its default of 2 MB refuses an image in base64."""

_FAILURES: tuple[Failure, ...] = (
    Failure(
        name="prefill-memory",
        pattern=r"Not enough memory to handle (?P<tokens>\d+) prefill tokens",
        cause="the warm-up with {tokens} prefill tokens did not fit",
        cure="lower max_batch_prefill_tokens or `context`, or raise the share",
    ),
    Failure(
        name="unsupported-model",
        pattern=r"Unsupported model type (?P<type>\S+)",
        cause="TGI does not know the model type {type}, and no newer release will",
        cure="serve this model with vllm or sglang",
    ),
    Failure(
        name="input-beyond-total",
        pattern=r"`max_input_(?:tokens|length)` must be < `max_total_tokens`",
        cause="the longest prompt is not shorter than the context",
        cure="lower max_input_tokens below `context`",
    ),
    # Its launcher is written in Rust: clap words this otherwise than Python's argparse.
    Failure(
        name="unknown-argument",
        pattern=r"error: unexpected argument '(?P<flag>[^']+)' found",
        cause="this engine version does not know {flag}",
        cure="take it out of `args`, or use an engine version that has it",
    ),
    Failure(
        name="wrong-argument",
        pattern=r"error: invalid value '(?P<value>[^']*)' for '(?P<flag>--[^ ']+)",
        cause="the engine refuses {value} as the value of {flag}",
        cure="correct it in the stack file",
    ),
    *PROCESS_FAILURES,
    *CUDA_FAILURES,
    *HUB_FAILURES,
)

_STAGES: tuple[tuple[str, str], ...] = (
    (r"Connected|Serving revision", "starting the API server"),
    (r"Setting max batch total tokens to (?P<tokens>\d+)", "KV cache holds {tokens} tokens"),
    (r"Cuda Graphs are enabled|Capturing", "capturing graphs"),
    (r"Warming up model", "profiling memory"),
    (r"Shard ready", "weights loaded"),
    (r"Waiting for shard to be ready|Starting shard", "loading weights"),
    (r"Download: \[(?P<done>\d+)/(?P<all>\d+)\]", "downloading {done}/{all}"),
    (r"Download file|Starting check and download process", "downloading"),
    (r"Launcher args|Args \{", "starting TGI"),
)


_TERMINAL = r"^error: |ShardCannotStart|WebserverFailed|DownloadError|ArgumentValidation"


class Tgi(Engine):
    """The engine `tgi`."""

    name = "tgi"
    python_is_roots = True  # uv installed it below /root, as its Dockerfile says
    failures = _FAILURES
    stages = _STAGES
    terminal = _TERMINAL

    def command(
        self,
        environment: str | None,
        model: str,
        arguments: Arguments,
        *,
        served_names: Sequence[str],
        host: str,
        port: int,
    ) -> list[str]:
        """`text-generation-launcher …`; TGI answers to any model name, so served names are the gateway's alone.

        In its image through `/tgi-entrypoint.sh`, which puts the Python environment of the server on the PATH first.
        """
        del served_names
        program = f"{environment}/bin/text-generation-launcher" if environment is not None else "/tgi-entrypoint.sh"
        return [program, "--model-id", model, "--hostname", host, "--port", str(port), *flags(arguments)]

    def render(
        self,
        intent: Intent,
        args: Mapping[str, Any],
        *,
        version: str,
        device: Device,
        unchecked: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """The flags of a release; no usage reports, and requests as large as the gateway lets through."""
        del device  # there is one image for CUDA that is spoken of here
        rendering = Rendering("tgi", version, owned=_OWNED, gone=_GONE)
        said = {name.lstrip("-").replace("-", "_") for name in args}
        _size(rendering, intent, said)
        _weights(rendering, intent)
        _beyond(rendering, intent)
        for name, value in (("payload-limit", _PAYLOAD), ("usage-stats", "off")):
            if name.replace("-", "_") not in said:
                rendering.intend("engine", name, value)
        rendering.take(args)
        rendering.pass_on(unchecked or {})
        return rendering.done()

    def packaged(self, version: str, device: Device, *, vision: bool = False) -> PythonPackages | None:
        """Comes as an image only."""
        del version, device, vision
        return None  # a value, not an end


def _size(rendering: Rendering, intent: Intent, said: set[str]) -> None:
    if intent.context is not None:
        rendering.intend("context", "max-total-tokens", intent.context)
        if not said & {"max_input_tokens", "max_input_length"}:
            rendering.intend("context", "max-input-tokens", max(intent.context - 1, 1))
    if intent.concurrency is not None:
        rendering.intend("concurrency", "max-batch-size", intent.concurrency)
    if intent.share is not None:
        rendering.intend("share", "cuda-memory-fraction", intent.share)
    if intent.kv_tokens is not None:
        rendering.intend("kv_cache", "max-batch-total-tokens", intent.kv_tokens)
    elif intent.kv_cache is not None:
        rendering.note("kv_cache", "is said in tokens to TGI and needs the model's shape; the share bounds it instead")


def _weights(rendering: Rendering, intent: Intent) -> None:
    if intent.quantization is not None:
        rendering.intend(
            "quantization", "quantize", _QUANTIZE.get(intent.quantization, intent.quantization.replace("_", "-"))
        )
    if intent.dtype != "auto" and intent.quantization is not None:
        rendering.refuse(
            "dtype", f"is {intent.dtype} beside a quantization, must be left out: TGI takes one of the two"
        )
    elif intent.dtype != "auto" and intent.dtype not in _DTYPES:
        rendering.refuse("dtype", f"is {intent.dtype}, must be float16 or bfloat16 with tgi")
    elif intent.dtype != "auto":
        rendering.intend("dtype", "dtype", _DTYPES[intent.dtype])
    if intent.kv_cache_dtype not in {None, "auto"}:
        names = {"fp8": "fp8_e4m3fn", "fp8_e4m3": "fp8_e4m3fn"}
        rendering.intend(
            "kv_cache_dtype", "kv-cache-dtype", names.get(str(intent.kv_cache_dtype), intent.kv_cache_dtype)
        )
    if intent.trust_remote_code:
        rendering.intend("trust_remote_code", "trust-remote-code", value=True)
        rendering.warn("trust_remote_code", "is true: Python code that comes with the model runs on the host")
    if intent.lora:
        rendering.intend("lora", "lora-adapters", ",".join(f"{held.name}={held.path}" for held in intent.lora))
        rendering.warn("lora", "is asked for by `adapter_id` with tgi, not by the model's name")
    if intent.tensor_parallel > 1:
        rendering.intend("parallel", "num-shard", intent.tensor_parallel)


def _beyond(rendering: Rendering, intent: Intent) -> None:
    """What TGI has no flag for."""
    for key, said, what in (
        ("parallel", intent.pipeline_parallel > 1, "pipelines over cards"),
        ("parallel", intent.data_parallel > 1, "copies of the model in one engine (write more replicas)"),
        ("parallel", intent.expert_parallel, "experts divided among cards"),
        ("task", intent.task not in {None, "generate"}, f"the task {intent.task}"),
        ("cpu_offload", intent.cpu_offload is not None, "weights in the host's memory"),
        ("images_per_prompt", intent.images_per_prompt is not None, "a limit of images per prompt"),
        (
            "load_format",
            intent.load_format not in {None, "auto", "safetensors"},
            f"the load format {intent.load_format}",
        ),
        ("model_impl", intent.model_impl != "auto", "a choice of the model's implementation"),
    ):
        if said:
            rendering.refuse(key, f"asks for {what}, which tgi does not have; take it out or use vllm")


TGI: Engine = Tgi()
