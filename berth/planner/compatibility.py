"""Whether an engine release, a card, its driver and a model go together: decided before anything starts.

Refuses only what is known not to work; what may work slowly or by another way is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.version import InvalidVersion, Version

from berth.catalogue.engine_versions import Release, architecture_range, quantization_floor, release, rows
from berth.catalogue.gpus import Gpu
from berth.catalogue.models.shape import ModelShape
from berth.planner.notes import refusal, remark, warning
from berth.planner.plan import Note


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What goes together in one revision on one kind of card.

    Attributes:
        where: the revision's place in the stack file.
        container: whether the engine runs from an image; `own_image` says that the stack file names it.
        gpu: the card; None where it is not known or there is none.
        driver: the host's driver as observed; None where it is not known.
        guest: whether the host is a container, which has the driver of a machine that is not in the stack.
        shape: the model; None where it is not known.
    """

    where: str
    engine: str
    version: str
    device: Literal["cuda", "cpu"]
    container: bool
    own_image: bool = False
    gpu: Gpu | None = None
    driver: str | None = None
    guest: bool = False
    shape: ModelShape | None = None
    context: int | None = None
    dtype: str = "auto"
    quantization: str | None = None
    load_format: str | None = None
    kv_cache_dtype: str | None = None
    tensor: int = 1
    pipeline: int = 1
    model_impl: str = "auto"


def compatibility(setup: Setup) -> Iterator[Note]:
    """Everything that does not go together."""
    checks: tuple[Callable[[Setup], Iterator[Note]], ...] = (_formats, _architecture, _split, _context)
    if setup.device == "cuda":
        checks = (_kernels, _driver, _types, _quantization, *checks)
    for check in checks:
        yield from check(setup)


def _kernels(setup: Setup) -> Iterator[Note]:
    """The release has code for the card."""
    built = release(setup.engine, setup.version)
    if setup.gpu is None or built is None or setup.own_image:
        return
    card = _card(setup.gpu)
    kernels = built.kernels_for(setup.gpu.compute_capability)
    where = f"{setup.where}.engine.version"
    if kernels is None:
        text = f"is {setup.version}, which has no kernels for {card}; must be {_releases_for(setup)}"
        yield refusal(where, text) if built.exact else warning(where, text)
    elif kernels == "ptx":
        text = (
            f"is {setup.version}, which has no kernels of its own for {card}: the driver compiles general ones at the "
            f"first start, slowly, and some are missing; better is {_releases_for(setup)}"
        )
        yield warning(where, text)


def _releases_for(setup: Setup) -> str:
    """The releases with kernels of their own for the card, in words."""
    assert setup.gpu is not None  # noqa: S101 - asked only for a card
    builds = rows(setup.engine)
    having = [build.kernels_for(setup.gpu.compute_capability) == "native" for build in builds]
    if not any(having):
        return "another engine or another card: no release has them"
    first = having.index(True)
    last = len(having) - 1 - having[::-1].index(True)
    if last == len(having) - 1:
        return f"{builds[first].version} or newer"
    return f"older than {builds[last + 1].version}"


def _driver(setup: Setup) -> Iterator[Note]:
    """The driver knows the card and runs the CUDA of the engine."""
    if setup.driver is None or setup.gpu is None:
        return
    try:
        driver = Version(setup.driver)
    except InvalidVersion:
        return
    where = f"{setup.where} on {setup.gpu.name}"
    if driver < setup.gpu.minimum_driver:
        text = f"the driver is {driver}, must be {setup.gpu.minimum_driver} or newer for this card"
        yield refusal(where, f"{text}; {_newer_driver(setup)}")
        return
    built = release(setup.engine, setup.version)
    if built is not None and not setup.own_image:
        yield from _cuda(setup, built, driver, where)


def _cuda(setup: Setup, built: Release, driver: Version, where: str) -> Iterator[Note]:
    assert setup.gpu is not None  # noqa: S101 - checked by the caller
    cuda = built.cuda
    others = [f"the image {image} (CUDA {other.version})" for other, image in built.variants if driver >= other.minor]
    instead = f", or use {others[0]}" if others and setup.container else ""
    said = f"the driver is {driver} and {setup.engine} {setup.version} is built with CUDA {cuda.version}"
    if driver < cuda.minor:
        text = f"{said}, must be {cuda.minor} or newer; {_newer_driver(setup, built)}{instead or _older(setup, driver)}"
        # Data-center cards may run a newer CUDA through the compatibility package, where an image brings it.
        yield warning(where, text) if setup.gpu.forward_compatible and setup.container else refusal(where, text)
    elif driver < cuda.own and setup.container and not setup.gpu.forward_compatible:
        text = (
            f"{said}, which came with driver {cuda.own}: the NVIDIA container runtime may refuse it with `unsatisfied "
            f"condition: cuda>={cuda.version}`; install that driver{instead}"
        )
        yield warning(where, text)


def _newer_driver(setup: Setup, built: Release | None = None) -> str:
    """How to come by another driver: a container has that of the machine around it."""
    if not setup.guest:
        return "install that branch"
    by = f" (providers show it as CUDA {built.cuda.version} or newer)" if built is not None else ""
    return f"it cannot be changed in a container, rent one on a machine that has it{by}"


def _older(setup: Setup, driver: Version) -> str:
    """The newest build of the engine that the driver of a container runs, in words; empty on other hosts."""
    assert setup.gpu is not None  # noqa: S101 - checked by the caller
    capability = setup.gpu.compute_capability
    fitting = [row for row in rows(setup.engine) if driver >= row.cuda.minor and row.kernels_for(capability)]
    return f", or use {setup.engine} {fitting[-1].version}" if setup.guest and fitting else ""


def _types(setup: Setup) -> Iterator[Note]:
    """The card computes in the type of the weights and of the KV cache."""
    gpu = setup.gpu
    if gpu is None:
        return
    if not gpu.bf16:
        if setup.dtype == "bfloat16":
            text = f"is bfloat16, which {_card(gpu)} does not have (it came with 8.0); must be float16"
            yield refusal(f"{setup.where}.dtype", text)
        elif setup.dtype == "auto" and setup.shape is not None and setup.shape.dtype == "bfloat16":
            text = f"is auto and the model is bfloat16, which {_card(gpu)} does not have; write `dtype: float16`"
            yield warning(f"{setup.where}.dtype", text)
    if (setup.kv_cache_dtype or "").startswith("fp8") and not gpu.fp8:
        text = (
            f"is {setup.kv_cache_dtype}, for which {_card(gpu)} has no arithmetic: it saves memory, is converted at "
            "each step, and not every attention kernel takes it"
        )
        yield warning(f"{setup.where}.kv_cache_dtype", text)


def _quantization(setup: Setup) -> Iterator[Note]:
    """The card runs the quantization: the one that is asked for, else the checkpoint's own."""
    gpu = setup.gpu
    checkpoint = setup.shape.quantization if setup.shape is not None else None
    method = setup.quantization or (checkpoint.method if checkpoint is not None else None)
    if gpu is None or method is None:
        return
    where = f"{setup.where}.quantization"
    if method in _OTHER_DEVICES:
        yield refusal(
            where, f"is {method}, which is for {_OTHER_DEVICES[method]}; must be one for NVIDIA GPUs or left out"
        )
        return
    floor = quantization_floor(setup.version, method) if setup.engine == "vllm" else None
    if floor is not None and gpu.compute_capability < floor:
        text = (
            f"is {method}, which needs compute capability {floor[0]}.{floor[1]} with vllm {setup.version}; "
            f"{_card(gpu)} is less; must be another quantization or another card"
        )
        yield refusal(where, text)
    elif method in _NATIVE and not getattr(gpu, _NATIVE[method]):
        text = (
            f"is {method}, for which {_card(gpu)} has no arithmetic: weights are kept small and converted at each step"
        )
        yield remark(where, text)


_OTHER_DEVICES = {"tpu_int8": "TPUs", "neuron_quant": "AWS Neuron", "ipex": "Intel's CPUs and GPUs", "cpu_awq": "CPUs"}

_NATIVE = {
    "fp8": "fp8", "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8", "modelopt": "fp8",
    "modelopt_fp4": "fp4", "nvfp4": "fp4", "mxfp4": "fp4",
}  # fmt: skip
"""Quantizations whose arithmetic newer cards have in hardware."""

_PAIRED = {"gguf", "bitsandbytes"}
"""Formats that are both a quantization and a load format: one said, the other must not differ."""


def _formats(setup: Setup) -> Iterator[Note]:
    """The load format agrees with the quantization."""
    method, loaded = setup.quantization, setup.load_format
    free = {None, "auto"}
    where = f"{setup.where}.load_format"
    if loaded in _PAIRED and method not in {*free, loaded}:
        text = f"is {loaded} beside quantization {method}, must agree; leave one of the two out"
        yield refusal(where, text)
    elif method in _PAIRED and loaded not in {*free, method, "dummy"}:
        yield refusal(where, f"is {loaded} beside quantization {method}, must be {method} or left out")
    checkpoint = setup.shape.quantization if setup.shape is not None else None
    if method is not None and checkpoint is not None and not _same_family(method, checkpoint.method):
        text = f"is {method}, and the checkpoint is quantized with {checkpoint.method}; must agree; leave it out"
        yield refusal(f"{setup.where}.quantization", text)


def _same_family(said: str, stored: str) -> bool:
    """Whether a quantization that is asked for can load what is stored: `awq_marlin` loads awq."""
    families = (
        {"awq", "awq_marlin", "auto_awq", "moe_wna16", "inc", "auto-round", "cpu_awq"},
        {
            "gptq",
            "gptq_marlin",
            "gptq_marlin_24",
            "marlin",
            "auto_gptq",
            "gptq_bitblas",
            "moe_wna16",
            "auto-round",
            "inc",
        },
        {
            "fp8",
            "fbgemm_fp8",
            "ptpc_fp8",
            "modelopt",
            "fp8_per_block",
            "fp8_per_tensor",
            "fp8_per_channel",
            "deepseek_v4_fp8",
        },
        {"mxfp4", "gpt_oss_mxfp4", "modelopt_fp4", "nvfp4", "petit_nvfp4", "nvfp4_per_token"},
    )
    unsure = {"compressed-tensors", "quark", "humming", "online", "torchao", "modelopt_mixed", "modelopt_mxfp8"}
    return said == stored or bool({said, stored} & unsure) or any({said, stored} <= family for family in families)


def _architecture(setup: Setup) -> Iterator[Note]:
    """The release serves the model's architecture."""
    if setup.shape is None or setup.engine != "vllm" or setup.model_impl == "transformers":
        return
    name, where = setup.shape.architecture, f"{setup.where}.engine.version"
    span = architecture_range(setup.engine, name)
    if span is None:
        text = f"is {setup.version}; no vllm release that Berth knows lists {name}: it may load through Transformers"
        yield warning(where, text)
        return
    first, last = span
    if Version(setup.version) < Version(first):
        text = (
            f"is {setup.version}, which does not serve {name}; must be {first} or newer; where the Transformers "
            "library has the model, `model_impl: transformers` may do"
        )
        yield refusal(where, text)
    elif last is not None and Version(setup.version) > Version(last):
        text = f"is {setup.version}; {name} was served up to {last} and may load only through Transformers now"
        yield warning(where, f"{text}; take {last}")


def _split(setup: Setup) -> Iterator[Note]:
    """Heads and feed-forward parts divide among the tensor-parallel ranks, layers among the pipeline's."""
    shape, ranks = setup.shape, setup.tensor
    if shape is None:
        return
    where = f"{setup.where}.parallel"
    if setup.pipeline > shape.layers:
        yield refusal(
            where, f"has {setup.pipeline} pipeline stages for {shape.layers} layers; must be {shape.layers} or less"
        )
    elif shape.layers % setup.pipeline:
        text = (
            f"has {setup.pipeline} pipeline stages for {shape.layers} layers: some cards get a layer more than others"
        )
        yield remark(where, text)
    heads = {held.heads for held in shape.attention} | ({shape.latent.heads} if shape.latent is not None else set())
    key_values = {held.kv_heads for held in shape.attention}
    odd = [count for count in sorted(heads) if count % ranks]
    odd_kv = [count for count in sorted(key_values) if count % ranks and ranks % count]
    for count, what in [(odd[:1], "attention heads"), (odd_kv[:1], "key-value heads")]:
        if count:
            fitting = [number for number in range(1, 17) if _divides(number, heads, key_values, shape.intermediate)]
            yield refusal(
                where,
                f"tensor is {ranks}, which does not divide {count[0]} {what}; must be "
                f"{', '.join(map(str, fitting[:-1]))}{' or ' if fitting[:-1] else ''}{fitting[-1]}",
            )
            return
    if shape.dense_layers and shape.intermediate % ranks:
        text = f"tensor is {ranks}, which does not divide the feed-forward width of {shape.intermediate}"
        yield refusal(where, f"{text}; choose a divisor of it")


def _divides(ranks: int, heads: set[int], key_values: set[int], width: int) -> bool:
    return (
        all(count % ranks == 0 for count in heads)
        and all(count % ranks == 0 or ranks % count == 0 for count in key_values)
        and width % ranks == 0
    )


def _context(setup: Setup) -> Iterator[Note]:
    """The context is no longer than the model was made for."""
    if setup.shape is not None and setup.context is not None and 0 < setup.shape.max_context < setup.context:
        longest = setup.shape.max_context
        text = f"is {setup.context}, must be at most {longest}, which {setup.shape.name} was made for; lower it"
        yield refusal(f"{setup.where}.context", text)


def _card(gpu: Gpu) -> str:
    major, minor = gpu.compute_capability
    return f"{gpu.name} (compute capability {major}.{minor})"
