"""SGLang: how it is started, when it is ready, what its log says, and an intent as its flags."""

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
    "context-length": Owned(key="context", said="context: 4096"),
    "max-running-requests": Owned(key="concurrency", said="concurrency: 16"),
    "dtype": Owned(key="dtype", said="dtype: float16"),
    "quantization": Owned(key="quantization", said="quantization: awq"),
    "load-format": Owned(key="load_format", said="load_format: safetensors"),
    "kv-cache-dtype": Owned(key="kv_cache_dtype", said="kv_cache_dtype: fp8_e5m2"),
    **{
        name: Owned(key="parallel", said=f"parallel: {{{word}: 2}}")
        for word, names in {
            "tensor": ("tensor-parallel-size", "tp-size"),
            "pipeline": ("pipeline-parallel-size", "pp-size"),
            "data": ("data-parallel-size", "dp-size"),
        }.items()
        for name in names
    },
    "enable-lora": Owned(key="lora", said="lora: {adapters: […]}"),
    "lora-paths": Owned(key="lora", said="lora: {adapters: […]}"),
    "max-loras-per-batch": Owned(key="lora", said="lora: {max_loras: 4}"),
    "max-lora-rank": Owned(key="lora", said="lora: {max_rank: 16}"),
    "model-impl": Owned(key="model_impl", said="model_impl: transformers"),
    "is-embedding": Owned(key="task", said="task: embed"),
    "trust-remote-code": Owned(key="trust_remote_code", said="trust_remote_code: true"),
    "cpu-offload-gb": Owned(key="cpu_offload", said="cpu_offload: 4 GiB"),
    "limit-mm-data-per-request": Owned(key="images_per_prompt", said="images_per_prompt: 2"),
    "mem-fraction-static": Owned(key="share", said="share: 0.9"),
    "max-total-tokens": Owned(key="kv_cache", said="kv_cache: 4 GiB"),
    "model-path": Owned(key="source", said="source: {hub: …}"),
    "model": Owned(key="source", said="source: {hub: …}"),
    "revision": Owned(key="source", said="source: {hub: …, revision: …}"),
    "served-model-name": Owned(key="aliases", said="aliases: […]"),
    "host": Owned(key=None, said=_BERTH),
    "port": Owned(key=None, said=_BERTH),
    "enable-metrics": Owned(key=None, said="Berth always turns it on; monitoring reads it"),
    "api-key": Owned(
        key=None, said="a key on a command line is seen by every user of the host; the gateway asks for keys"
    ),
}

_GONE: Mapping[str, Gone] = {}

_FAILURES: tuple[Failure, ...] = (
    Failure(
        name="share-too-small",
        pattern=r"Not enough memory\. Please try to increase --mem-fraction-static",
        cause="after the weights nothing of the engine's share is left for the KV cache",
        cure="raise the share, or use a quantized model",
    ),
    Failure(
        name="context-too-long",
        pattern=r"context_length \((?P<context>\d+)\) is greater than the derived context_length \((?P<limit>\d+)\)",
        cause="the context of {context} tokens is longer than the {limit} the model was made for",
        cure="lower `context` to {limit}",
    ),
    Failure(
        name="unbalanced-memory",
        pattern=r"The memory capacity is unbalanced",
        cause="the cards of this replica have different amounts of free memory: something else uses one of them",
        cure="free that card (`nvidia-smi`) or place the replica on other cards",
    ),
    Failure(
        name="graph-capture",
        pattern=r"Capture cuda graph failed: (?P<reason>.+)",
        cause="capturing CUDA graphs failed: {reason}",
        cure="lower the share or cuda_graph_max_bs, or set disable_cuda_graph: true",
    ),
    *PROCESS_FAILURES,
    *CUDA_FAILURES,
    *HUB_FAILURES,
)

_STAGES: tuple[tuple[str, str], ...] = (
    (r"The server is fired up and ready to roll", "ready"),
    (r"Application startup complete|Uvicorn running on", "starting the API server"),
    (r"Capturing batches.*?(?P<done>\d+)/(?P<all>\d+)", "capturing graphs {done}/{all}"),
    (r"Capture (?:cuda|decode) graph begin", "capturing graphs"),
    (r"KV Cache is allocated.*?#tokens: (?P<tokens>\d+)", "KV cache holds {tokens} tokens"),
    (r"Loading \S+ checkpoint shards:.*?(?P<done>\d+)/(?P<all>\d+)", "loading weights {done}/{all}"),
    (r"Load weight end", "weights loaded"),
    (r"Load weight begin", "loading weights"),
    (r"Init torch distributed begin", "starting the engine"),
    (r"server_args=", "starting SGLang"),
)


_TERMINAL = r"error: (?:unrecognized arguments|argument )|Received sigquit from a child process"


class Sglang(Engine):
    """The engine `sglang`."""

    name = "sglang"
    probe_path = "/health_generate"  # makes a token: the port opens before the engine can answer
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
        """`python3 -m sglang.launch_server …`; SGLang serves a model under one name, the first."""
        python = f"{environment}/bin/python" if environment is not None else "python3"
        names = ["--served-model-name", served_names[0]] if served_names else []
        return [
            *(python, "-m", "sglang.launch_server", "--model-path", model, "--host", host, "--port", str(port)),
            *names,
            *flags(arguments),
        ]

    def render(
        self,
        intent: Intent,
        args: Mapping[str, Any],
        *,
        version: str,
        device: Device,
        unchecked: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """The flags of a release; metrics are always on."""
        rendering = Rendering("sglang", version, owned=_OWNED, gone=_GONE)
        _model(rendering, intent)
        _spread(rendering, intent)
        _memory(rendering, intent, args, device)
        rendering.intend("engine", "enable-metrics", value=True)
        rendering.take(args)
        rendering.pass_on(unchecked or {})
        return rendering.done()

    def packaged(self, version: str, device: Device, *, vision: bool = False) -> PythonPackages | None:
        """The package with its kernels; there is no build for CPU in the index."""
        del vision  # comes with the package
        return PythonPackages(requirements=(f"sglang[all]=={version}",)) if device == "cuda" else None


def _model(rendering: Rendering, intent: Intent) -> None:
    for key, name, value in (
        ("context", "context-length", intent.context),
        ("concurrency", "max-running-requests", intent.concurrency),
        ("dtype", "dtype", None if intent.dtype == "auto" else intent.dtype),
        ("quantization", "quantization", intent.quantization),
        ("load_format", "load-format", None if intent.load_format == "auto" else intent.load_format),
        ("model_impl", "model-impl", {"auto": None, "native": "sglang"}.get(intent.model_impl, intent.model_impl)),
        ("trust_remote_code", "trust-remote-code", True if intent.trust_remote_code else None),
        ("task", "is-embedding", True if intent.task in {"embed", "classify", "score", "reward"} else None),
    ):
        if value is not None:
            rendering.intend(key, name, value)
    if intent.trust_remote_code:
        rendering.warn("trust_remote_code", "is true: Python code that comes with the model runs on the host")
    if intent.images_per_prompt is not None:
        rendering.intend("images_per_prompt", "limit-mm-data-per-request", {"image": intent.images_per_prompt})
    if intent.prefix_caching is False:
        rendering.intend("prefix_caching", "disable-radix-cache", value=True)
    if intent.lora:
        if rendering.has("enable-lora"):
            rendering.intend("lora", "enable-lora", value=True)
        rendering.intend("lora", "lora-paths", [f"{adapter.name}={adapter.path}" for adapter in intent.lora])
        rendering.intend("lora", "max-loras-per-batch", intent.max_loras or 1)
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
        name = "ep-size" if rendering.has("ep-size") else "enable-ep-moe"
        rendering.intend("parallel", name, intent.tensor_parallel if name == "ep-size" else True)


def _memory(rendering: Rendering, intent: Intent, args: Mapping[str, Any], device: Device) -> None:
    """SGLang's knob holds weights and KV cache alone, so that activations and graphs are taken off the share."""
    if intent.share is not None and device == "cuda":
        static = static_fraction(intent.share, intent.card_memory, args)
        rendering.intend("share", "mem-fraction-static", static)
        rendering.note(
            "share",
            f"of {intent.share:g} becomes --mem-fraction-static {static:g}: activations and graphs lie outside it",
        )
    if intent.kv_tokens is not None:
        rendering.intend("kv_cache", "max-total-tokens", intent.kv_tokens)
    elif intent.kv_cache is not None:
        rendering.note(
            "kv_cache", "is said in tokens to SGLang and needs the model's shape; the share bounds it instead"
        )
    if intent.kv_cache_dtype not in {None, "auto"}:
        name = "fp8_e4m3" if intent.kv_cache_dtype == "fp8" else intent.kv_cache_dtype
        rendering.intend("kv_cache_dtype", "kv-cache-dtype", name)
    if intent.cpu_offload is not None:
        rendering.intend("cpu_offload", "cpu-offload-gb", -(-intent.cpu_offload // 2**30))


_MIB = 2**20
_CUDA_CONTEXT = 600 * _MIB  # what an idle process holds; 0.35 to 0.6 GiB on the cards seen

_DEFAULTS = ((20, 2048, 8), (35, 2048, 24), (60, 4096, 32), (90, 8192, 256), (160, 8192, 256), (10**6, 16384, 512))
"""SGLang's own chunk of prefill in tokens and largest graph's batch, for cards below so many GiB."""


def static_fraction(share: float, card_memory: int | None, args: Mapping[str, Any]) -> float:
    """The part of a card for weights and KV cache when the engine as a whole may use `share` of it.

    What stays outside follows SGLang's own reservation: 1.5 MiB per token of the prefill chunk and 2 MiB per request
    of the largest graph (server_args.py). Without the card's size, a tenth of the share is left.
    """
    if card_memory is None:
        return round(share * 0.9, 3)
    said = {name.lstrip("-").replace("-", "_"): value for name, value in args.items()}
    _, chunk, batch = next(row for row in _DEFAULTS if card_memory < row[0] * 2**30)
    chunk = _count(said.get("chunked_prefill_size"), chunk)
    batch = 0 if said.get("disable_cuda_graph") is True else _count(said.get("cuda_graph_max_bs"), batch)
    reserved = int(1.5 * _MIB * chunk) + 2 * _MIB * batch + _CUDA_CONTEXT
    return max(round(share - reserved / card_memory, 3), 0.05)


def _count(value: Any, default: int) -> int:
    """A flag's value where it is a count; what is wrong with another is said by the check of flags."""
    return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else default


SGLANG: Engine = Sglang()
