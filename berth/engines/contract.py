"""What an inference engine is to the rest of Berth, whichever one it is.

One module per engine holds everything that is particular about it: how it is started, when it is ready, what its log
lines mean, how it is installed. The planner and the components speak to an `Engine` alone.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Argument = str | int | float | bool | None
"""The value of one flag; True is a bare flag, False its `--no-` form, None leaves the flag out."""

Arguments = Mapping[str, Argument | Sequence[str]]
"""An engine's own flags without their dashes, in rendering order; a sequence is a flag with several values."""

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA adapter that is served beside its base model under its own name; `path` is a folder or a repository."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What is asked of an engine in the field's own words; None and the defaults leave it to the engine.

    Attributes:
        context: tokens of prompt and answer together that one request may have.
        concurrency: requests that are worked on at a time.
        task: what the model is for: generate, embed, classify, score, reward or transcription.
        model_impl: auto, native (the engine's own implementation of the model) or transformers.
        lora: adapters loaded at the start; `max_loras` of them may take part in one batch.
        max_lora_rank: the largest rank among the adapters.
        cpu_offload: bytes of weights per card that are kept in the host's memory.
        images_per_prompt: images that one prompt of a vision model may have.
        share: fraction of each card's total memory that the engine may use.
        kv_cache: bytes of KV cache on each card (on CPU: in all).
        kv_tokens: tokens that this KV cache holds, for engines that want it in tokens.
        card_memory: what CUDA reports as one card's total in bytes, for engines whose knob is not a share of the total.
    """

    context: int | None = None
    concurrency: int | None = None
    task: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    load_format: str | None = None
    kv_cache_dtype: str | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False
    lora: tuple[Adapter, ...] = ()
    max_loras: int | None = None
    max_lora_rank: int | None = None
    model_impl: str = "auto"
    trust_remote_code: bool = False
    cpu_offload: int | None = None
    images_per_prompt: int | None = None
    prefix_caching: bool | None = None
    share: float | None = None
    kv_cache: int | None = None
    kv_tokens: int | None = None
    card_memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Note:
    """One sentence about one key of a revision (`args.swap_space`, `context`): what is, what must be, what to do."""

    severity: Literal["note", "warning", "refusal"]
    where: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What an intent and a user's own flags become for one release.

    `environment` is what the process needs beside `Engine.environment_variables`. With a refusal among the notes the
    arguments must not be used.
    """

    arguments: dict[str, Argument | tuple[str, ...]]
    environment: dict[str, str]
    notes: tuple[Note, ...]


@dataclass(frozen=True, kw_only=True)
class PythonPackages:
    """What is installed from Python packages into an environment of its own, as engines are.

    `requirements` and `overrides` are pinned lines as uv reads them; `overlay` maps a path below site-packages to the
    text of a file that is added there after the installation.
    """

    requirements: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    overlay: Mapping[str, str] = field(default_factory=dict)
    python: str = "3.11"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A way in which an engine fails to start or ends: how its log shows it, why, and what to do.

    `pattern` is a regular expression searched in single log lines; `cause` may name its groups: `{context}`.
    """

    name: str
    pattern: str
    cause: str
    cure: str

    def match(self, line: str) -> Failure | None:
        """This failure with the facts of the line filled in, or None when the line does not show it."""
        found = re.search(self.pattern, line)
        if found is None:
            return None
        facts = {name: value or "" for name, value in found.groupdict().items()}
        return Failure(
            name=self.name,
            pattern=self.pattern,
            cause=_fill(self.cause, facts),
            cure=_fill(self.cure, facts),
        )

    def __str__(self) -> str:
        return f"{self.cause}; {self.cure}"


class Engine(ABC):
    """An inference engine with an OpenAI-compatible HTTP server; what its modules say of it is in the class variables.

    `failures` are those whose log lines are known, the more telling first; `stages` are patterns of log lines and what
    they say about how far a start is; `terminal` is the pattern of lines after which the server ends. `variables` are
    what it needs in its environment beside what all engines need.
    """

    name: ClassVar[str]
    health_path: ClassVar[str] = "/health"
    """Answers 200 when the engine is alive and its model is loaded."""
    probe_path: ClassVar[str] = "/health"
    """Answers 200 when the engine is ready for requests."""
    models_path: ClassVar[str] = "/v1/models"
    metrics_path: ClassVar[str] = "/metrics"
    python_is_roots: ClassVar[bool] = False
    """Whether the Python on the PATH of its image lies where nobody but root can run it."""
    failures: ClassVar[tuple[Failure, ...]]
    stages: ClassVar[tuple[tuple[str, str], ...]]
    terminal: ClassVar[str]
    variables: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
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
        """The argument list that starts the server; `environment` holds `bin/`, None is an image's own PATH."""

    @abstractmethod
    def render(
        self,
        intent: Intent,
        args: Mapping[str, Any],
        *,
        version: str,
        device: Device,
        unchecked: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """The flags of a release for an intent, a user's `args` (checked) and `unchecked` ones (passed on)."""

    @abstractmethod
    def packaged(self, version: str, device: Device, *, vision: bool = False) -> PythonPackages | None:
        """How this version is installed for a device; None when it comes as an image only.

        With `vision` it has what models need that see.
        """

    def environment_variables(
        self, device: Device, *, version: str, cards: Sequence[int] = (), offline: bool = False
    ) -> dict[str, str]:
        """What the server's process environment needs; `offline` keeps it from asking a model hub.

        No usage reports, no colours in the log, and cards by their place on the bus.
        """
        del version  # the same in all releases so far
        variables = {**self.variables, "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_COLOR": "1"}
        if offline:
            variables["HF_HUB_OFFLINE"] = "1"
        if device == "cuda":
            # Without PCI_BUS_ID, CUDA counts the fastest card first and nvidia-smi's numbers mean other cards.
            variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(str(card) for card in cards)
        return variables

    def ready_probe(self, environment: str | None, port: int) -> list[str]:
        """A command that exits with 0 when the server on 127.0.0.1 is ready; it ends within 5 seconds."""
        return http_probe(environment, port, self.probe_path)

    def progress(self, line: str) -> str | None:
        """What a log line says about how far a start is, in a few words; None when it says nothing."""
        return stage(self.stages, line)

    def startup_terminal(self, line: str) -> bool:
        """Whether a log line shows that this start has failed for good and waiting longer is in vain."""
        return re.search(self.terminal, line) is not None

    def explain(self, lines: Iterable[str]) -> Failure | None:
        """The failure that log lines show, its facts filled in; None when nothing known is found."""
        return explain(self.failures, lines)


def explain(failures: Sequence[Failure], lines: Iterable[str]) -> Failure | None:
    """The first of `failures` (which stand by how much they tell) that any line shows, taken from its last line."""
    held = list(lines)
    for failure in failures:
        for line in reversed(held):
            shown = failure.match(line)
            if shown is not None:
                return shown
    return None


def stage(stages: Sequence[tuple[str, str]], line: str) -> str | None:
    """The status of the first pattern that a log line shows, its named groups filled in."""
    for pattern, status in stages:
        found = re.search(pattern, line)
        if found is not None:
            return status.format(**{name: value or "?" for name, value in found.groupdict().items()})
    return None


def flags(arguments: Arguments) -> list[str]:
    """Arguments as an argument list: `--name value`, `--name` for True, `--no-name` for False."""
    words: list[str] = []
    for key, value in arguments.items():
        name, dot, rest = key.lstrip("-").partition(".")  # a part below a JSON flag keeps its spelling
        name = name.replace("_", "-") + dot + rest
        if value is None:
            continue
        if value is True:
            words.append(f"--{name}")
        elif value is False:
            words.append(f"--no-{name}")
        elif isinstance(value, (str, int, float)):
            words += [f"--{name}", str(value)]
        else:
            words += [f"--{name}", *value]
    return words


def http_probe(environment: str | None, port: int, path: str) -> list[str]:
    """A command that exits with 0 when the path answers 2xx within 5 seconds, using the environment's own Python.

    In an image it is the one on its PATH, or curl, for images in which not everybody can run Python.
    """
    # No proxy: a host's http_proxy must not stand between the probe and its own loopback. -I keeps the working
    # folder and PYTHON* variables out, -S the site-packages, so that it costs some 50 ms.
    code = "import sys, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=5).read(1)"
    url = f"http://127.0.0.1:{port}{path}"
    if environment is not None:
        return [f"{environment}/bin/python", "-I", "-S", "-c", code, url]
    either = """python3 -I -S -c "$1" "$2" || curl -fs --max-time 5 --noproxy '*' -o /dev/null "$2\""""
    return ["sh", "-c", either, "probe", code, url]


def _fill(text: str, facts: Mapping[str, str]) -> str:
    for name, value in facts.items():
        text = text.replace("{" + name + "}", value)
    return text
