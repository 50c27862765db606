"""What is widely told about these set-ups and is wrong or old: said where a stack would run into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from berth.planner.cards import Slot
from berth.planner.notes import remark, warning
from berth.planner.plan import Note
from berth.planner.servings import Sized
from berth.spec.stack import Stack

_BLACKWELL = (12, 0)
"""The compute capability of RTX 50 cards and RTX PRO Blackwell."""

_CLOSE = 0.05
"""A measurement so near to the plan agrees with it: data sheets and nvidia-smi round."""


def advice(stack: Stack, sizes: Sequence[Sized], slots: Mapping[str, tuple[Slot, ...]], profile: str) -> Iterator[Note]:
    """Remarks and warnings, each at most once for a stack."""
    yield from _measured(sizes, profile)
    yield from _hosts(stack, slots)
    yield from _shared_cards(sizes)
    yield from _shapes(sizes)
    yield from _engines(stack)
    yield from _clusters(stack)
    yield from _new_cards(sizes)


def _hosts(stack: Stack, slots: Mapping[str, tuple[Slot, ...]]) -> Iterator[Note]:
    for name, cards in slots.items():
        seen = {slot.gpu.id: slot.gpu for slot in cards if slot.gpu is not None}
        for gpu in seen.values():
            if gpu.open_modules == "required":
                text = (
                    f"{gpu.name} needs driver {gpu.minimum_driver} or newer with open kernel modules; "
                    "older advice names 545, which cannot drive it"
                )
                yield remark(f"hosts.{name}.gpus", text)
        connection = stack.hosts[name].connection
        if connection != "local" and connection.ssh.host_key is None:
            text = "is missing, must be there before the machine is touched; `berth hostkey` prints it"
            yield warning(f"hosts.{name}.connection.ssh.host_key", text)
        if stack.hosts[name].prerequisites.container_toolkit is not None:
            text = (
                "comes from NVIDIA's libnvidia-container repository with a keyring file; apt-key and the "
                "nvidia-docker repository of older guides are gone"
            )
            yield remark(f"hosts.{name}.prerequisites.container_toolkit", text)


def _shared_cards(sizes: Sequence[Sized]) -> Iterator[Note]:
    """What people get wrong about several engines on one card."""
    for one in sizes:
        if one.serving is None or one.serving.engine != "vllm" or one.chosen or one.memory is None:
            continue
        said = "is" if one.seat.spec.share is not None else f"is not said, {one.memory.share:g} is the engine's own:"
        text = (
            f"{said} a fraction of the card's total memory for each engine, not of what is left; each process holds "
            "some 0.5 GiB beyond it (CUDA context, graphs)"
        )
        yield remark(f"{one.seat.where}.share", text)
        break
    crowd: dict[tuple[str, int], list[Sized]] = {}
    for one in sizes:
        for card in one.seat.cards:
            crowd.setdefault((one.seat.host, card), []).append(one)
    for (host, card), there in crowd.items():
        if len(there) > 1:
            order = ", ".join(one.seat.name for one in there)
            text = (
                f"engines start one after the other ({order}), each when the one before it is ready: two that "
                "measure memory at once disturb each other, and a fixed pause between starts is a guess"
            )
            yield remark(f"hosts.{host} gpu {card}", text)


def _measured(sizes: Sequence[Sized], profile: str) -> Iterator[Note]:
    """How the plan compares with what was seen; what it cannot explain is said, not fitted."""
    for one in sizes:
        said, memory = one.seat.spec.measured, one.memory
        seen = said.get(profile) if isinstance(said, Mapping) else said
        if seen is None or memory is None or one.seat.index:
            continue
        ratio = seen / memory.used
        text = f"{seen} were measured, {memory.used} are planned"
        if abs(ratio - 1) > _CLOSE:
            text += (
                f": the share is {memory.budget} and the process holds {memory.used - memory.budget}"
                " beyond it; what more was measured is not explained by either"
                if ratio > 1
                else ": less was in use than the engine may take"
            )
        yield remark(f"{one.seat.where}.measured", text)


def _shapes(sizes: Sequence[Sized]) -> Iterator[Note]:
    for one in sizes:
        shape = one.shape
        if shape is not None and one.serving is not None and not shape.latent and shape.kv_heads < shape.heads:
            text = (
                f"its KV cache is counted with {shape.kv_heads} key-value heads, not the {shape.heads} attention "
                f"heads: formulas with hidden_size give {shape.heads // shape.kv_heads} times too much"
            )
            yield remark(one.seat.where, text)
            return


def _engines(stack: Stack) -> Iterator[Note]:
    seen: set[str] = set()
    for name, model in stack.models.items():
        for revision in model.revisions.values():
            engine = revision.engine
            if engine.name == "tgi" and "tgi" not in seen:
                text = "tgi is in maintenance mode since December 2025: no new models or cards; vllm and sglang go on"
                yield warning(f"models.{name}.engine", text)
            if engine.version is None and engine.name not in seen:
                text = f"is not said, the newest known {engine.name} is taken; write it down so that it stays"
                yield remark(f"models.{name}.engine.version", text)
            seen.add(engine.name)


def _clusters(stack: Stack) -> Iterator[Note]:
    for name, cluster in stack.clusters.items():
        if cluster.display_name is not None:
            text = (
                f"{cluster.display_name!r} is what the dashboard shows; an InferenceService names its runtime by the "
                "ServingRuntime's resource name, and model.name stays empty: the webhook refuses a set one"
            )
            yield remark(f"clusters.{name}.display_name", text)
        if cluster.mode == "standard":
            text = "is standard: annotations of Knative and Istio (enablePassthrough, sidecar) would do nothing"
            yield remark(f"clusters.{name}.mode", text)


def _new_cards(sizes: Sequence[Sized]) -> Iterator[Note]:
    for one in sizes:
        if one.gpu is not None and one.gpu.compute_capability == _BLACKWELL and one.seat.spec.engine.name == "sglang":
            text = (
                f"is {one.version}: images from 0.5.2 (September 2025) on have kernels for RTX 50 cards (sm_120); "
                "those before had none, hence the older advice to use it on a 4090 only"
            )
            yield remark(f"{one.seat.where}.engine.version", text)
            return
