"""What an engine's flags mean in a stack file: the inverse of what `berth.engines` renders from it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from berth.catalogue.json_values import json_value
from berth.catalogue.secrets import secret
from berth.engines.contract import Intent
from berth.engines.registry import ENGINES
from berth.engines.sglang import static_fraction
from berth.running.command_lines import Line

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """An engine's command line in the words of a stack file.

    Attributes:
        says: keys of a revision and their values; sizes in bytes, shares as fractions, `args` by their names there.
        model: a repository of the hub, or a folder.
        revision: the repository's branch, tag or commit; empty where none is said.
        names: under which clients ask for the model; empty where none is said.
        port: where it listens.
        host: the address of that.
        remarks: what it says that a stack file does not, a sentence each; never a value that may be secret.
    """

    says: Mapping[str, Any]
    model: str
    revision: str
    names: tuple[str, ...]
    port: int
    host: str
    remarks: tuple[str, ...]


def meaning(line: Line, card_memory: int | None = None) -> Meaning:
    """What a command line means.

    Args:
        line: the command line.
        card_memory: one card's total as CUDA reports it, in bytes; SGLang's knob is a share of it less what it keeps.
    """
    reading = _ENGINES[line.engine](line, card_memory)
    return reading.done()


class _Reading:
    """One command line; what is particular about an engine is in the class variables and in `own`.

    `plain` are flags that are a key of the stack file with the same value, `decided` those that Berth sets itself.
    """

    plain: ClassVar[Mapping[str, str]]
    decided: ClassVar[frozenset[str]] = frozenset()
    model_flag: ClassVar[str] = "model"
    host_flag: ClassVar[str] = "host"
    port: ClassVar[int] = 8000

    def __init__(self, line: Line, card_memory: int | None) -> None:
        self.line, self.card_memory = line, card_memory
        self.says: dict[str, Any] = {}
        self.remarks: list[str] = []

    def done(self) -> Meaning:
        flags = {name: value for name, value in self.line.flags.items() if not secret(name, value)}
        self.remarks += [
            f"--{name} is left out: it looks like a secret, which belongs on no command line"
            for name in self.line.flags
            if name not in flags
        ]
        model = str(flags.pop(self.model_flag, "") or ("" if secret("", self.line.model) else self.line.model))
        revision = str(flags.pop("revision", ""))
        names = flags.pop("served-model-name", ())
        port, host = flags.pop("port", self.port), str(flags.pop(self.host_flag, ""))
        if self.line.left:
            self.remarks.append(f"{self.line.left} words of its command line belong to no flag and are left out")
        self.own(flags)
        args: dict[str, Any] = {}
        unchecked: dict[str, Any] = {}
        for name, value in flags.items():
            if name.partition(".")[0] in self.line.unknown or self.refused(name, value):
                unchecked[_spelled(name)] = value
            else:
                args[_spelled(name)] = value
        self.says |= {"args": args} if args else {}
        self.says |= {"unchecked_args": unchecked} if unchecked else {}
        return Meaning(
            says=self.says,
            model=model,
            revision=revision,
            names=tuple(str(name) for name in ([names] if isinstance(names, str) else names)),
            port=port if isinstance(port, int) else self.port,
            host=host,
            remarks=tuple(self.remarks),
        )

    def refused(self, name: str, value: Any) -> bool:
        """Whether Berth would refuse the flag, although the engine has taken it somehow."""
        args, release = {_spelled(name): value}, self.line.version
        rendered = ENGINES[self.line.engine].render(Intent(), args, version=release, device="cuda")
        return any(note.severity == "refusal" and note.where.startswith("args.") for note in rendered.notes)

    def own(self, flags: dict[str, Any]) -> None:
        """Takes out of the flags what has a key of its own."""
        for name in self.decided & flags.keys():
            del flags[name]
        for name, key in self.plain.items():
            value = flags.pop(name, None)
            if value is None or value in ("auto", -1):
                continue
            found = _count(value) if key in _NUMBERS else value
            if key in _NUMBERS and not _is_number(found):
                self.remarks.append(f"--{name} is left out: its value is no number ({key})")
            else:
                self.says[key] = found
        self.spread(flags)
        if flags.pop("trust-remote-code", False) is True:
            self.says["trust_remote_code"] = True
        offload = flags.pop("cpu-offload-gb", 0)
        if _is_number(offload) and offload > 0:
            self.says["cpu_offload"] = round(offload * _GIB)

    def spread(self, flags: dict[str, Any]) -> None:
        parallel = {
            key: value
            for key in ("tensor", "pipeline", "data")
            if isinstance(value := flags.pop(f"{key}-parallel-size", 1), int) and value > 1
        }
        if [name for name in _EXPERTS if flags.pop(name, None) not in (None, False, 1)]:
            parallel["expert"] = True
        if parallel:
            self.says["parallel"] = parallel

    def adapters(self, said: Any, limits: Mapping[str, Any]) -> None:
        """LoRA adapters, as `name=path` or as JSON objects, and the engine's limits for them."""
        found = [one for item in ([said] if isinstance(said, str) else said) for one in _adapters(item)]
        lora = {"adapters": [{"name": name, "source": {"path": path}} for name, path in found if path.startswith("/")]}
        self.remarks += [
            f"the adapter {name} is left out: it comes from a repository, and a stack file pins its commit"
            for name, path in found
            if not path.startswith("/")
        ]
        kept = {key: value for key, value in (lora | dict(limits)).items() if value}
        if kept:
            self.says["lora"] = kept

    def images(self, limit: Any, flag: str) -> None:
        """The limit of images in a prompt, which may stand beside limits that have no key."""
        if isinstance(limit, str) and (found := re.fullmatch(r"image=(\d+)", limit)):
            limit = {"image": int(found[1])}
        if isinstance(limit, Mapping) and set(limit) == {"image"}:
            self.says["images_per_prompt"] = limit["image"]
        elif limit is not None:
            self.remarks.append(f"--{flag} is left out: a stack file limits images alone (images_per_prompt)")


_NUMBERS = frozenset({"context", "concurrency", "kv_cache", "share"})
_EXPERTS = ("enable-expert-parallel", "expert-parallel-size", "ep-size", "enable-ep-moe")


class _Vllm(_Reading):
    plain = {
        "max-model-len": "context",
        "max-num-seqs": "concurrency",
        "dtype": "dtype",
        "quantization": "quantization",
        "load-format": "load_format",
        "kv-cache-dtype": "kv_cache_dtype",
        "gpu-memory-utilization": "share",
        "kv-cache-memory-bytes": "kv_cache",
    }
    decided = frozenset({"uds"})

    def own(self, flags: dict[str, Any]) -> None:
        super().own(flags)
        if (model_impl := flags.pop("model-impl", "auto")) != "auto":
            self.says["model_impl"] = "native" if model_impl == "vllm" else model_impl
        self.images(flags.pop("limit-mm-per-prompt", None), "limit-mm-per-prompt")
        limits = {"max_loras": flags.pop("max-loras", None), "max_rank": flags.pop("max-lora-rank", None)}
        flags.pop("enable-lora", None)
        self.adapters(flags.pop("lora-modules", ()), limits)
        task, runner, convert = flags.pop("task", "auto"), flags.pop("runner", "auto"), flags.pop("convert", "auto")
        if runner == "pooling":
            task = convert if convert in {"embed", "classify", "reward"} else "embed"
        if task not in {"auto", "generate"}:
            self.says["task"] = task


class _Sglang(_Reading):
    plain = {
        "context-length": "context",
        "max-running-requests": "concurrency",
        "dtype": "dtype",
        "quantization": "quantization",
        "load-format": "load_format",
        "kv-cache-dtype": "kv_cache_dtype",
    }
    model_flag, port = "model-path", 30000
    decided = frozenset({"enable-metrics", "enable-lora"})

    def own(self, flags: dict[str, Any]) -> None:
        for short, name in (("tp", "tensor"), ("pp", "pipeline"), ("dp", "data")):
            if f"{short}-size" in flags:
                flags[f"{name}-parallel-size"] = flags.pop(f"{short}-size")
        super().own(flags)
        if (model_impl := flags.pop("model-impl", "auto")) != "auto":
            self.says["model_impl"] = "native" if model_impl == "sglang" else model_impl
        if flags.pop("is-embedding", False) is True:
            self.says["task"] = "embed"
        self.images(flags.pop("limit-mm-data-per-request", None), "limit-mm-data-per-request")
        limits = {"max_loras": flags.pop("max-loras-per-batch", None), "max_rank": flags.pop("max-lora-rank", None)}
        self.adapters(flags.pop("lora-paths", ()) or (), limits)
        if flags.pop("max-total-tokens", None) is not None:
            self.remarks.append("--max-total-tokens is left out: a stack file gives the KV cache in bytes (kv_cache)")
        static = flags.pop("mem-fraction-static", None)
        if isinstance(static, float):
            said = {name.replace("-", "_"): value for name, value in flags.items()}
            outside = 1 - static_fraction(1.0, self.card_memory, said) if self.card_memory else static / 9
            self.says["share"] = min(round(static + outside, 3), 1.0)


class _Tgi(_Reading):
    plain = {
        "max-total-tokens": "context",
        "max-batch-size": "concurrency",
        "dtype": "dtype",
        "quantize": "quantization",
        "cuda-memory-fraction": "share",
    }
    model_flag, host_flag, port = "model-id", "hostname", 80
    decided = frozenset({"sharded"})

    def own(self, flags: dict[str, Any]) -> None:
        shards = flags.pop("num-shard", 1)
        flags["tensor-parallel-size"] = shards
        super().own(flags)
        if "context" in self.says and flags.get("max-input-tokens") == self.says["context"] - 1:
            del flags["max-input-tokens"]
        if (cache := flags.pop("kv-cache-dtype", "auto")) != "auto":
            self.says["kv_cache_dtype"] = {"fp8_e4m3fn": "fp8"}.get(cache, cache)
        if flags.pop("max-batch-total-tokens", None) is not None:
            text = "--max-batch-total-tokens is left out: a stack file gives the KV cache in bytes (kv_cache)"
            self.remarks.append(text)
        self.adapters([one for one in str(flags.pop("lora-adapters", "")).split(",") if one], {})


_ENGINES: Final[Mapping[str, Callable[[Line, int | None], _Reading]]] = {
    "vllm": _Vllm,
    "sglang": _Sglang,
    "tgi": _Tgi,
}


def _count(value: Any) -> Any:
    """A number of tokens or bytes as vLLM writes it: 1k is 1000, 1K is 1024 (`human_readable_int`)."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)([kKmMgGtT])", value) if isinstance(value, str) else None
    if found is None:
        return value
    power = "kmgt".index(found[2].lower()) + 1
    return round(float(found[1]) * (1000 if found[2].islower() else 1024) ** power)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _spelled(name: str) -> str:
    """A flag's name as stack files write it; a part below a JSON flag keeps its spelling."""
    head, dot, part = name.partition(".")
    return head.replace("-", "_") + dot + part


def _adapters(item: Any) -> list[tuple[str, str]]:
    if isinstance(item, str) and item.startswith("{"):
        try:
            item = json_value(item)
        except ValueError:
            return []
    if isinstance(item, Mapping):
        return [(str(item.get("name", "")), str(item.get("path", "")))]
    name, equals, path = str(item).partition("=")
    return [(name, path if equals else name)]
