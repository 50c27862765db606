"""A replica as far as its memory goes: what the stack file says of it, in the terms of the memory model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.engines.sglang import static_fraction
from berth.planner.memory import Lora, Serving
from berth.planner.placement import Seat
from berth.planner.verdict import ReplicaMemory
from berth.spec.models import Revision


@dataclass(frozen=True, kw_only=True)
class Sized:
    """One replica with what was decided about its memory; None where nothing is known or nothing is to be decided."""

    seat: Seat
    version: str
    shape: ModelShape | None
    gpu: Gpu | None = None
    serving: Serving | None = None
    chosen: bool = False
    memory: ReplicaMemory | None = None


def outside_share(spec: Revision, gpu: Gpu) -> float:
    """The part of a card that an engine holds beside what its own knob means.

    A stack's share is what the engine may use in all. SGLang's mem_fraction_static holds weights and KV cache alone;
    the others' knobs mean what the stack means.
    """
    if spec.engine.name != "sglang":
        return 0.0
    return 1 - static_fraction(1.0, int(gpu.cuda_total), spec.args)


def serving_of(seat: Seat, version: str, shape: ModelShape, gpu: Gpu, profile: str) -> Serving:
    """What of a replica decides its memory."""
    spec = seat.spec
    share = share_of(spec, profile)
    lora = Lora(adapters=spec.lora.max_loras, rank=spec.lora.max_rank) if spec.lora is not None else None
    return Serving(
        engine=spec.engine.name,
        version=Version(version),
        context=spec.context or _whole(value_of(spec, "max_model_len", "context_length")) or shape.max_context,
        concurrency=spec.concurrency,
        max_num_seqs=_whole(value_of(spec, "max_num_seqs", "max_running_requests")),
        max_num_batched_tokens=_whole(
            value_of(spec, "max_num_batched_tokens", "chunked_prefill_size", "max_batch_prefill_tokens")
        ),
        dtype=spec.dtype,
        quantization=spec.quantization,
        kv_cache_dtype=spec.kv_cache_dtype or "auto",
        tensor_parallel=seat.tensor,
        pipeline_parallel=seat.pipeline,
        enforce_eager=value_of(spec, "enforce_eager", "disable_cuda_graph") is True,
        share=None if share is None else share - outside_share(spec, gpu),
        kv_cache_bytes=spec.kv_cache,
        block_size=_whole(value_of(spec, "block_size")),
        lora=lora,
        cpu_offload=spec.cpu_offload or Bytes(0),
        images_per_prompt=spec.images_per_prompt,
        chunked_prefill=_switch(value_of(spec, "enable_chunked_prefill")),
        prefix_caching=_switch(value_of(spec, "enable_prefix_caching")),
        speculative_tokens=_drafted(spec),
        installation="image" if seat.in_container or spec.engine.image is not None else "package",
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _drafted(spec: Revision) -> int:
    """Tokens that speculative decoding proposes per step."""
    config = value_of(spec, "speculative_config")
    named = config.get("num_speculative_tokens") if isinstance(config, Mapping) else None
    return _whole(named) or _whole(value_of(spec, "spec_tokens", "num_speculative_tokens")) or 0


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def value_of(spec: Revision, *names: str) -> Any:
    """The value of an engine's own flag under any of its names; None when the stack file says nothing."""
    said = {name.removeprefix("--").replace("-", "_"): value for name, value in spec.args.items()}
    return next((said[name] for name in names if said.get(name) is not None), None)


def share_of(spec: Revision, profile: str) -> float | None:
    """The share that the stack file gives, under the profile."""
    return spec.share.get(profile) if isinstance(spec.share, Mapping) else spec.share


def by_card(started: Sequence[Sized]) -> Mapping[tuple[str, int], list[Sized]]:
    """Who is on each card, in start order."""
    found: dict[tuple[str, int], list[Sized]] = {}
    for one in started:
        for index in one.seat.cards:
            found.setdefault((one.seat.host, index), []).append(one)
    return found
