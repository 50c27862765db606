"""The memory of the machines themselves: what engines keep there beside their cards.

Counted is what an engine holds for as long as it runs: weights that `cpu_offload` leaves there, KV cache that is moved
there, swap space where a release has one, and all of an engine on the CPU; at least what its instance type keeps for
it. Weights on their way to a card are read through the page cache, which the kernel takes back at any time: they are
never counted, and said where they are larger than what is left for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from packaging.version import Version

from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.facts import HostFacts
from berth.planner.memory.weights import parameters, weights
from berth.planner.notes import refusal, remark, warning
from berth.planner.placement import Seat, firsts
from berth.planner.plan import Note
from berth.planner.servings import Sized, value_of
from berth.spec.hosts import Host, Instance
from berth.spec.stack import Stack

CPU_CACHE = Bytes(2**30)
"""KV cache in bytes on a CPU where the stack file gives none: the engine's own default takes 4 GiB and more."""

_SMALL = Bytes(2**30)
"""Of a machine whose memory nobody knows, less than this is not worth a word."""

_PINNED = 2
"""vLLM pins each offloaded weight by itself, in a block of the next power of two: up to twice of what was asked for
(vllm-project/vllm#56410, #58185)."""

_SWAPPING = Version("0.8.0")
"""vLLM from here on (V1) allocates no swap space; before, 4 GiB for each card where nothing else is said."""

_SWAP, _SWAP_CHECKED, _SWAP_LIMIT = 4, Version("0.17.1"), 0.7
"""Until then it ends at its start where its default of 4 GiB for each tensor rank is more than this part of the
machine's memory, although it would never use it (vllm/config, CacheConfig.verify_with_parallel_config)."""

_SIZES = {"float32": 4, "float": 4}


@dataclass(frozen=True, kw_only=True)
class Held:
    """What one replica keeps of its machine's memory: `terms` by what they are, at `least` and at `most`."""

    name: str
    terms: tuple[tuple[str, Bytes], ...]
    least: Bytes
    most: Bytes

    def __str__(self) -> str:
        return f"{self.name} {' + '.join(f'{size} of {what}' for what, size in self.terms)}"


def instance_of(one: Sized, stack: Stack) -> Instance | None:
    """The instance type that a replica names; None where it names none."""
    return stack.instances.get(one.seat.spec.instance or "")


def held(one: Sized, instance: Instance | None = None) -> Held:
    """What a replica keeps of its machine's memory."""
    seat, terms = one.seat, [(what, size) for what, size in _terms(one) if size > 0]
    least = most = Bytes(sum(size for _, size in terms))
    offloaded = next((size for what, size in terms if what == "weights"), Bytes(0))
    if seat.spec.engine.name == "vllm" and not _on_cpu(seat):
        most += offloaded * (_PINNED - 1)
    if instance is not None and instance.memory > least:
        terms, least, most = [(f"instance {seat.spec.instance}", instance.memory)], instance.memory, instance.memory
    return Held(name=seat.name, terms=tuple(terms), least=least, most=most)


def memory_of(host: Host | None, facts: HostFacts | None) -> Bytes | None:
    """A machine's memory: as found, else as declared; None where nobody knows."""
    if facts is not None and facts.memory:
        return Bytes(facts.memory)
    return host.memory if host is not None else None


def room_for_second(
    one: Sized, all_of_them: Sequence[Sized], stack: Stack, facts: Mapping[str, HostFacts]
) -> tuple[bool | None, str]:
    """Whether a replica's machine has memory for it once more, and why; None where it may or may not be enough."""
    host = one.seat.host
    total, mine = memory_of(stack.hosts.get(host), facts.get(host)), held(one, instance_of(one, stack))
    if not mine.least or total is None:
        return True, ""
    there = [held(other, instance_of(other, stack)) for other in all_of_them if other.seat.host == host]
    least = total - sum(other.least for other in there) - mine.least
    most = total - sum(other.most for other in there) - mine.most
    left = Bytes(max(0, least + mine.least))
    text = f"a second one keeps {mine.least} of the memory of {host}, of which {left} are left"
    return (False if least < 0 else None if most < 0 else True), text


def host_memory(stack: Stack, sizes: Sequence[Sized], facts: Mapping[str, HostFacts]) -> Iterator[Note]:
    """Whether all that engines keep of each machine is there, who keeps it, and what to change where it is not."""
    for name, host in stack.hosts.items():
        there = [one for one in sizes if one.seat.host == name and not one.seat.on_cluster]
        total = memory_of(host, facts.get(name))
        yield from _declared(name, host, facts.get(name))
        yield from _memory(name, total, there, stack)
        if total is not None:
            yield from _swap(name, facts.get(name), there, total)


def _terms(one: Sized) -> Iterator[tuple[str, Bytes]]:
    seat, spec = one.seat, one.seat.spec
    engine, ranks = spec.engine.name, max(len(seat.cards), seat.tensor * seat.pipeline)
    if _on_cpu(seat):
        yield "weights", _all_weights(one.shape, spec.dtype)
        yield "KV cache", spec.kv_cache or (CPU_CACHE if engine == "vllm" else Bytes(0))
        return
    if spec.cpu_offload is not None:
        yield "weights", Bytes(min(spec.cpu_offload, _on_card(one) or spec.cpu_offload) * ranks)
    if engine == "vllm":
        yield "KV cache", Bytes.from_gib(_amount(value_of(spec, "kv_offloading_size")))
        if Version(one.version) < _SWAPPING:
            yield "swap space", Bytes.from_gib(_amount(value_of(spec, "swap_space"), _SWAP) * ranks)
    if engine == "sglang" and value_of(spec, "enable_hierarchical_cache") is True:
        size = Bytes(round(_amount(value_of(spec, "hicache_size")) * 10**9))  # for each rank, in GB
        if not size and one.memory is not None:
            size = Bytes(round(one.memory.available_kv * _amount(value_of(spec, "hicache_ratio"), 2.0)))
        yield "KV cache", Bytes(size * ranks)


def _on_cpu(seat: Seat) -> bool:
    return seat.spec.engine.device == "cpu" or not (seat.cards or seat.on_cluster)


def _all_weights(shape: ModelShape | None, dtype: str) -> Bytes:
    """The weights of an engine on the CPU; 0 where nothing is known of the model."""
    if shape is None:
        return Bytes(0)
    if shape.stored is not None:
        return Bytes(shape.stored.total)
    each = shape.quantization.bytes_per_weight if shape.quantization is not None else _SIZES.get(dtype, 2)
    return Bytes(round(parameters(shape).total * each))


def _on_card(one: Sized) -> int:
    """The weights of a rank before any is offloaded: no more than these leave it. 0 where they are not known."""
    if one.shape is None or one.serving is None or one.gpu is None:
        return 0
    return weights(one.shape, replace(one.serving, cpu_offload=Bytes(0)), one.gpu)


def _amount(value: Any, otherwise: float = 0) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _declared(name: str, host: Host, found: HostFacts | None) -> Iterator[Note]:
    """What is declared counts in plans without access, so that it had better be true."""
    if found is None:
        return
    if host.memory is not None and found.memory and not 0.9 <= host.memory / found.memory <= 1.1:
        yield warning(f"hosts.{name}.memory", f"is {host.memory}, the host has {Bytes(found.memory)}, which counts")


def _memory(name: str, total: Bytes | None, there: Sequence[Sized], stack: Stack) -> Iterator[Note]:
    holders = [found for one in there if (found := held(one, instance_of(one, stack))).least]
    least, most = (Bytes(sum(getattr(one, bound) for one in holders)) for bound in ("least", "most"))
    where, who = f"hosts.{name}.memory", ", ".join(map(str, holders))
    if total is None:
        if least >= _SMALL:
            yield remark(where, f"is not known, {least} are needed ({who}); write it down, or let `up` find it")
        return
    if least > total:
        text = f"is {total}, {least} are needed ({who}); {_cure(there, least - total)}"
        # What runs already has what it needs: then it is counted too high.
        starts = any(held(one, instance_of(one, stack)).least and not one.seat.runs_already for one in there)
        yield (refusal if starts else warning)(where, text)
    elif most > total:
        text = (
            f"is {total}, {least} are needed ({who}) and up to {most} are taken: vLLM pins each weight that it keeps "
        )
        yield warning(where, f"{text}there in a block of the next power of two; {_cure(there, most - total)}")
    elif least >= _SMALL:
        yield remark(where, f"is {total}, {least} are needed ({who}), {total - least} are left")
    yield from _page_cache(name, total - least, there)


def _page_cache(host: str, left: Bytes, there: Sequence[Sized]) -> Iterator[Note]:
    """Weights that no page cache can hold are read from the disk at each start, and by each rank again."""
    first = firsts(one.seat for one in there)
    for one in there:
        on_disk = _on_card(one) * one.seat.tensor * one.seat.pipeline
        if 0 <= left < on_disk and one.seat.name in first:
            text = (
                f"reads {Bytes(on_disk)} of weights through the page cache, for which {left} are left: they do not "
                "stay there, so that each start reads them from the disk"
            )
            yield remark(f"{one.seat.where} on {host}", text)


def _cure(there: Sequence[Sized], excess: Bytes) -> str:
    """What of one replica would make room."""
    offloading = [one for one in there if one.seat.spec.cpu_offload is not None and not _on_cpu(one.seat)]
    largest = max(offloading, key=lambda one: one.seat.spec.cpu_offload or 0, default=None)
    if largest is not None and largest.seat.spec.cpu_offload is not None:
        ranks = sum(max(len(one.seat.cards), 1) for one in offloading if one.seat.where == largest.seat.where)
        lower = (largest.seat.spec.cpu_offload - excess / ranks) / 2**30
        if lower >= 0.1:
            return f"lower {largest.seat.where}.cpu_offload to {int(lower * 10) / 10:g} GiB, or use another host"
    return "use fewer replicas there, or another host"


def _swap(host: str, found: HostFacts | None, there: Sequence[Sized], total: Bytes) -> Iterator[Note]:
    """Releases that look at their swap space and never use it.

    They look at the whole machine's memory; in a container what is known is its own limit, which is less.
    """
    first, guest = firsts(one.seat for one in there), found is not None and found.container is not None
    for one in there:
        version, spec = Version(one.version), one.seat.spec
        if spec.engine.name != "vllm" or not _SWAPPING <= version <= _SWAP_CHECKED or one.seat.name not in first:
            continue
        if one.seat.runs_already or "swap_space" in {
            name.lstrip("-").replace("-", "_") for name in spec.unchecked_args
        }:
            continue
        wanted = Bytes.from_gib(_SWAP * one.seat.tensor)
        if wanted > _SWAP_LIMIT * total:
            has = f"a container with {total}, and its machine may have more" if guest else f"one with {total}"
            text = (
                f"{'should' if guest else 'must'} have swap_space: 0: vllm {one.version} ends where its default of "
                f"{wanted} is more than {_SWAP_LIMIT:.0%} of the machine's memory, although it never uses it; "
                f"{host} is {has}"
            )
            yield (warning if guest else refusal)(f"{one.seat.where}.unchecked_args", text)
