"""Instance types on hosts: what of them holds there, and cores that they keep.

A container has all of one. A process has limits where systemd keeps it (`CPUQuota`, `MemoryMax`); what a login without
root's rights starts by supervisord, nobody can limit: address space is no memory to CUDA, which reserves far more of it
than it uses, and Linux ignores the limit of resident memory. What the type keeps for it is counted all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from berth.facts import HostFacts
from berth.planner.host_memory import held, instance_of
from berth.planner.notes import refusal, remark, warning
from berth.planner.placement import firsts
from berth.planner.plan import Note
from berth.planner.servings import Sized
from berth.spec.hosts import Host
from berth.spec.stack import Stack


def instances(stack: Stack, sizes: Sequence[Sized], facts: Mapping[str, HostFacts]) -> Iterator[Note]:
    """What instance types come to, on each host."""
    for name, host in stack.hosts.items():
        there = [one for one in sizes if one.seat.host == name and not one.seat.on_cluster]
        yield from _cores(name, host, facts.get(name), there, stack)
        if host.runtime == "process":
            yield from _processes(host, facts.get(name), there, stack)
    yield from _limits(sizes, stack)


def _processes(host: Host, found: HostFacts | None, there: Sequence[Sized], stack: Stack) -> Iterator[Note]:
    """What of an instance type nobody sees to."""
    init = found.init if host.init == "auto" and found is not None else host.init
    first = firsts(one.seat for one in there)
    for one in there:
        said, where = instance_of(one, stack), f"{one.seat.where}.instance"
        if said is None or one.seat.name not in first or one.seat.runs_already:
            continue
        limits = [key for key in ("cpu_limit", "memory_limit") if getattr(said, key) is not None]
        keys = f"{' and '.join(limits)} of {one.seat.spec.instance}"
        if limits and init == "supervisord":
            text = f"{keys} are not enforced on {one.seat.host}: without systemd and root's rights nothing can limit"
            yield warning(where, f"{text} a process there; what the type keeps is counted; docker can")
        elif limits and init == "auto":
            text = f"{keys} hold on {one.seat.host} where systemd keeps processes, and nobody has looked yet"
            yield remark(where, text)
        if said.shared_memory is not None:
            text = f"shared_memory of {one.seat.spec.instance} says nothing of a process, which has the machine's"
            yield warning(where, text)


def _cores(name: str, host: Host, found: HostFacts | None, there: Sequence[Sized], stack: Stack) -> Iterator[Note]:
    """Cores that instance types keep, and limits that a machine cannot have."""
    if found is not None and host.cores is not None and host.cores != found.cores:
        yield warning(f"hosts.{name}.cores", f"is {host.cores}, the host has {found.cores}, which counts")
    cores = host.cores if found is None else found.cores
    kept = [(one, instance) for one in there if (instance := instance_of(one, stack)) is not None]
    where = f"hosts.{name}.cores"
    if cores is None:
        if kept:
            yield remark(where, f"are not known, {sum(said.cpu for _, said in kept):g} are kept for replicas")
        return
    total = sum(said.cpu for _, said in kept)
    if total > cores:
        who = ", ".join(f"{one.seat.name} {said.cpu:g}" for one, said in kept)
        text = f"are {cores}, {total:g} are kept ({who}), must be enough for all"
        # What runs already has what it needs: then the file keeps too much for it.
        starts = any(said.cpu and not one.seat.runs_already for one, said in kept)
        yield (refusal if starts else warning)(where, f"{text}; lower cpu of an instance, or use fewer replicas")
    first = firsts(one.seat for one in there)
    for one, said in kept:
        if one.seat.name not in first or one.seat.runs_already or not one.seat.in_container:
            continue
        if said.cpu_limit is not None and said.cpu_limit > cores:
            text = f"is {one.seat.spec.instance} with a cpu_limit of {said.cpu_limit:g}, {name} has {cores} cores"
            yield refusal(f"{one.seat.where}.instance", f"{text}; Docker refuses more; lower it")


def _limits(sizes: Sequence[Sized], stack: Stack) -> Iterator[Note]:
    """Instance types that end what they are for."""
    first = firsts(one.seat for one in sizes)
    for one in sizes:
        said = instance_of(one, stack)
        if said is None or said.memory_limit is None or one.seat.name not in first:
            continue
        needs = held(one)
        if needs.least > said.memory_limit:
            text = f"is {one.seat.spec.instance}, whose memory_limit of {said.memory_limit} is less than what it keeps"
            say = warning if one.seat.runs_already else refusal
            yield say(f"{one.seat.where}.instance", f"{text} ({needs}); raise it, or keep less there")
