"""Engines that run already: what a stack file says of them, in the words that their command lines are read in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from berth.facts import HostFacts
from berth.facts.model import GpuProcess
from berth.planner.facts import without
from berth.planner.notes import refusal
from berth.planner.placement import Seat
from berth.planner.plan import Note
from berth.planner.plan.adopted import AdoptedPlan
from berth.planner.servings import Sized, share_of
from berth.spec.models import Revision
from berth.spec.stack import Stack

_COMMANDS = ("vllm", "sglang", "text-generation")
"""How the processes of engines that hold cards call themselves."""

_PLAIN = ("context", "concurrency", "quantization", "kv_cache_dtype", "images_per_prompt")
_DEFAULTS = {"dtype": "auto", "load_format": "auto", "model_impl": "auto", "task": "generate"}


def adopted(one: Sized, profile: str) -> AdoptedPlan | None:
    """The running engine of a replica; None for one that Berth starts."""
    said = one.seat.spec.adopt
    if said is None:
        return None
    return AdoptedPlan(
        container=said.container or "",
        take=said.take,
        says=says(one.seat.spec, profile),
        image=one.seat.spec.engine.image or "",
        card_memory=int(one.gpu.cuda_total) if one.gpu is not None else 0,
    )


def says(spec: Revision, profile: str) -> dict[str, Any]:
    """What a revision says as `berth.running.meaning` says it of a command line: nothing of what is left out."""
    found: dict[str, Any] = {key: value for key in _PLAIN if (value := getattr(spec, key)) is not None}
    found |= {key: value for key, default in _DEFAULTS.items() if (value := getattr(spec, key)) not in {None, default}}
    share = share_of(spec, profile)
    found |= {} if share is None else {"share": share}
    found |= {key: int(value) for key in ("cpu_offload", "kv_cache") if (value := getattr(spec, key)) is not None}
    found |= {"trust_remote_code": True} if spec.trust_remote_code else {}
    if parallel := spec.parallel.model_dump(exclude_defaults=True):
        found["parallel"] = parallel
    if spec.lora is not None:
        lora = spec.lora.model_dump(exclude_unset=True)
        adapters = [{"name": one.name, "source": {"path": one.source.path}} for one in spec.lora.adapters]
        found["lora"] = {**lora, **({"adapters": adapters} if adapters else {})}
    for key in ("args", "unchecked_args"):
        flags = {name.lstrip("-").replace("-", "_"): value for name, value in getattr(spec, key).items()}
        found |= {key: flags} if flags else {}
    return found


def without_adopted(stack: Stack, facts: Mapping[str, HostFacts]) -> Mapping[str, HostFacts]:
    """The machines as if no adopted engine ran: the plan counts what these hold itself."""
    containers: dict[str, set[str]] = {}
    processes: set[str] = set()
    for model in stack.models.values():
        for revision in model.revisions.values():
            for place in revision.place if revision.adopt is not None else ():
                host = place.host or ""
                if revision.adopt is not None and revision.adopt.container is not None:
                    containers.setdefault(host, set()).add(f"/{revision.adopt.container}")
                else:
                    processes.add(host)

    def own(host: str) -> Callable[[GpuProcess], bool]:
        names = tuple(containers.get(host, ()))
        return lambda process: (
            process.cgroup.endswith(names) or (host in processes and process.command.lower().startswith(_COMMANDS))
        )

    return {name: without(found, own(name)) for name, found in facts.items()}


def check_adoption(stack: Stack, seats: Sequence[Seat]) -> Iterator[Note]:
    """What an adopted engine must be told of: one place, with the port that it listens on."""
    owners: dict[tuple[str, str], str] = {}
    for seat in seats:
        said = seat.spec.adopt
        if said is None:
            continue
        where = f"{seat.where}.adopt"
        if seat.on_cluster:
            yield refusal(where, f"is on {seat.host}, a cluster; must be on a host; remove it")
        elif seat.index > 0:
            yield refusal(where, "is said of more than one replica, must be of one; give each a model of its own")
        elif all(place.port is None for place in seat.spec.place):
            yield refusal(where, "needs the port on which its engine listens; add port to its place")
        if said.process and said.take:
            text = "is true for a process, must be left out: who keeps it running is not known; stop it, remove adopt"
            yield refusal(f"{where}.take", text)
        if said.container is not None:
            other = owners.setdefault((seat.host, said.container), where)
            if other != where:
                yield refusal(where, f"is {said.container}, which {other} has already; must be adopted once")
        if said.container is not None and seat.host in stack.hosts and stack.hosts[seat.host].runtime != "docker":
            text = f"is a container, and {seat.host} runs processes; must have runtime: docker"
            yield refusal(where, text)
