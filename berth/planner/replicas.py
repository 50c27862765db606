"""A sized replica as the plan says it: engine, weights, arguments, how it is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from berth.catalogue.engine_versions import newest, release
from berth.catalogue.units import Bytes
from berth.engines.contract import Device, Intent, Rendered
from berth.engines.registry import ENGINES
from berth.planner.adapters import adapters_of, hub_adapters
from berth.planner.adoption import adopted
from berth.planner.compatibility import Setup
from berth.planner.host_memory import CPU_CACHE
from berth.planner.notes import refusal, remark, warning
from berth.planner.on_cluster import pod_of, resource_of, spare_cards
from berth.planner.placement import Seat
from berth.planner.plan import (
    EnginePlan,
    ExistingEngine,
    ImageEngine,
    Installation,
    InstancePlan,
    Note,
    PodPlan,
    ReplicaPlan,
    Severity,
    revision_name,
)
from berth.planner.servings import Sized, outside_share, share_of
from berth.planner.verdict import CardVerdict, Verdict
from berth.planner.weights import weights_of
from berth.spec.hosts import Instance
from berth.spec.stack import Stack

OnChange = Literal["surge", "hold", "refuse"]

Room = Callable[[Sized], tuple[bool | None, str]]
"""Whether there is room for a replica once more, and why; None where that is not known."""

_DEFAULT_CONCURRENCY = 256
"""Requests at a time where neither the stack file nor the memory model says a number: vLLM's own default."""


def version_of(seat: Seat) -> str:
    """The engine's version; the newest that is known for its device where the stack file says none."""
    return seat.spec.engine.version or newest(seat.spec.engine.name, device_of(seat))


def device_of(seat: Seat) -> Device:
    """What the replica's engine computes on."""
    return seat.spec.engine.device or ("cuda" if seat.cards or seat.on_cluster else "cpu")


class Replicas:
    """Writes sized replicas as the plan says them; what is wrong with them goes to `notes`.

    `host_room` says whether the memory of a replica's machine has room for it once more.
    """

    def __init__(
        self,
        stack: Stack,
        profile: str,
        seats: Sequence[Seat],
        cards: Sequence[CardVerdict],
        notes: list[Note],
        *,
        host_room: Room,
    ) -> None:
        self._models, self._instances, self._profile, self._notes = stack.models, stack.instances, profile, notes
        self._clusters, self._host_room = stack.clusters, host_room
        self._spare = {name: spare_cards(name, said, seats) for name, said in stack.clusters.items()}
        self._cards = {(card.host, card.index): card for card in cards}
        self._rendered: dict[tuple[str, Intent], Rendered] = {}

    def write(self, one: Sized, order: int) -> ReplicaPlan:
        """One replica, `order` in the sequence of starts."""
        seat, spec = one.seat, one.seat.spec
        device = device_of(seat)
        rendered = self._render(one, device)
        way, why = self._on_change(one)
        self._notes += open_port(seat)
        return ReplicaPlan(
            model=seat.model,
            revision=seat.revision,
            index=seat.index,
            host=seat.host,
            cards=seat.cards,
            port=seat.port or 0,
            engine=EnginePlan(
                name=spec.engine.name,
                version=one.version,
                device=device,
                installation=_installation(one, device, self._notes),
            ),
            weights=weights_of(spec.source, seat.where, self._notes),
            served_names=(seat.model, *self._models[seat.model].aliases, revision_name(seat.model, seat.revision)),
            arguments=rendered.arguments,
            environment={**rendered.environment, **spec.environment},
            secrets=dict(spec.secrets),
            on_change=way,
            why=why,
            spare_port=seat.spare_port,
            start_order=order,
            start_timeout_s=spec.start_timeout,
            stop_timeout_s=spec.stop_timeout,
            max_concurrency=spec.concurrency or _DEFAULT_CONCURRENCY,
            memory=one.memory,
            address=seat.address,
            adapters=tuple(adapter.path for adapter in adapters_of(seat) if adapter.path not in hub_adapters(seat)),
            hub_adapters=hub_adapters(seat),
            pod=self._pod(one),
            instance=_instance(self._instances.get(spec.instance or "")),
            adopted=adopted(one, self._profile),
        )

    def _render(self, one: Sized, device: Device) -> Rendered:
        """The engine's flags; replicas of one revision of which the same is asked share them, and their notes."""
        spec = one.seat.spec
        intent = intent_of(one, device, self._profile)
        key = (f"{one.seat.where} {device}", intent)
        if key not in self._rendered:
            engine = ENGINES[spec.engine.name]
            found = engine.render(intent, spec.args, version=one.version, device=device, unchecked=spec.unchecked_args)
            self._rendered[key] = found
            self._notes += [
                Note(severity=Severity(note.severity), where=f"{one.seat.where}.{note.where}", text=note.text)
                for note in found.notes
            ]
        return self._rendered[key]

    def _pod(self, one: Sized) -> PodPlan | None:
        """What the replica is on its cluster; None on a host."""
        seat, lora = one.seat, one.seat.spec.lora
        if not seat.on_cluster or seat.host not in self._clusters:
            return None
        where = f"{seat.where}.lora"
        adapters = tuple(weights_of(held.source, where, self._notes) for held in lora.adapters) if lora else ()
        return pod_of(one, self._clusters[seat.host], adapters)

    def _on_change(self, one: Sized) -> tuple[OnChange, str]:
        """How the replica is replaced, and why: the stack file says so, or what its card has room for."""
        said, where = self._models[one.seat.model].on_change, f"models.{one.seat.model}.on_change"
        if said == "hold":
            return "hold", "the stack file says so"
        room, why = self._cluster_room(one) if one.seat.on_cluster else self._room_for_two(one)
        if said == "auto":
            return ("surge" if room is True else "hold"), why
        if said == "surge":
            if room is False:
                least = "hold" if one.seat.on_cluster else "hold or refuse"
                self._notes.append(refusal(where, f"is surge, must be {least}: {why}"))
            return "surge", why
        if one.seat.on_cluster and room is not True:
            # KServe replaces pods by itself: nobody is there at that moment who could refuse it.
            if not one.seat.parked:
                self._notes.append(refusal(where, f"is refuse, must be hold: {why}"))
            return "refuse", why
        # Where it is not known whether there is room on a host, trying leaves the running one as it is.
        return ("refuse" if room is False else "surge"), why

    def _cluster_room(self, one: Sized) -> tuple[bool | None, str]:
        """Whether a cluster has the cards for one more; None when the stack file does not say how many it has."""
        seat = one.seat
        if device_of(seat) == "cpu":
            return True, "it uses no card"
        left = self._spare.get(seat.host, {}).get(resource_of(seat, self._clusters[seat.host]))
        if left is None:
            return None, f"how many cards {seat.host} has left is not known; say the count of its gpus"
        text = f"{seat.size} cards are needed for a second one beside it, and {seat.host} has {left} left"
        return left >= seat.size, text if left >= seat.size else f"{text}; raise the count of its gpus"

    def _room_for_two(self, one: Sized) -> tuple[bool | None, str]:
        """Whether each of its cards has room for the replica once more; None when that is not known."""
        seat = one.seat
        mine = [self._cards[seat.host, index] for index in seat.cards if (seat.host, index) in self._cards]
        if not seat.spare_port:
            return False, f"hosts.{seat.host}.engine_ports has no port left for a second one"
        if not mine:
            return None, "it runs on no card whose memory could be counted"
        if one.memory is None or any(card.verdict is Verdict.UNKNOWN for card in mine):
            return None, "what it needs of its card is not known"
        least = min(mine, key=lambda card: card.free)
        left = f"{max(least.free, Bytes(0))} of gpu {least.index} are left"
        if least.free >= one.memory.used:
            room, why = self._host_room(one)
            return room, f"a second {one.memory.used} fits beside it: {left}" if room else why
        return False, f"a second {one.memory.used} does not fit beside it: {left}"


def open_port(seat: Seat) -> Iterator[Note]:
    """An engine asks nobody for a key, so that a port of it that others reach is worth a word."""
    if seat.address not in {"127.0.0.1", "::1"}:
        text = f"is {seat.address}: whoever reaches port {seat.port} there uses the engine without a key"
        yield warning(f"{seat.where}.place", text)


def _instance(said: Instance | None) -> InstancePlan | None:
    if said is None:
        return None
    return InstancePlan(
        cpus=said.cpu_limit,
        memory=said.memory_limit,
        shared_memory=said.shared_memory,
        least_cpus=said.cpu,
        least_memory=said.memory,
    )


def intent_of(one: Sized, device: Device, profile: str) -> Intent:
    """What is asked of the engine, shares that the planner chose included."""
    seat, spec, serving = one.seat, one.seat.spec, one.serving
    share, cache = share_of(spec, profile), spec.kv_cache
    if one.chosen and serving is not None:
        share, cache = serving.share, serving.kv_cache_bytes
        if share is not None and one.gpu is not None:
            share = round(share + outside_share(spec, one.gpu), 3)
    if device == "cpu" and cache is None and spec.engine.name == "vllm":
        cache = CPU_CACHE
    lora = spec.lora
    return Intent(
        context=spec.context,
        concurrency=spec.concurrency,
        task=spec.task if "task" in spec.model_fields_set else None,
        dtype=spec.dtype,
        quantization=spec.quantization,
        load_format=spec.load_format or ("dummy" if spec.source.random is not None else None),
        kv_cache_dtype=spec.kv_cache_dtype,
        tensor_parallel=seat.tensor,
        pipeline_parallel=seat.pipeline,
        data_parallel=spec.parallel.data,
        expert_parallel=spec.parallel.expert,
        lora=adapters_of(seat),
        max_loras=lora.max_loras if lora is not None else None,
        max_lora_rank=lora.max_rank if lora is not None else None,
        model_impl=spec.model_impl,
        trust_remote_code=spec.trust_remote_code,
        cpu_offload=None if spec.cpu_offload is None else int(spec.cpu_offload),
        images_per_prompt=spec.images_per_prompt,
        share=share,
        kv_cache=None if cache is None else int(cache),  # a flag is a bare number; Bytes print with their unit
        kv_tokens=one.memory.kv_tokens if one.memory is not None and cache is not None else None,
        card_memory=int(one.gpu.cuda_total) if one.gpu is not None else None,
    )


def setup_of(one: Sized, driver: str | None) -> Setup:
    """What must go together in a replica: release, card, driver, model."""
    seat, spec = one.seat, one.seat.spec
    return Setup(
        where=seat.where,
        engine=spec.engine.name,
        version=one.version,
        device=device_of(seat),
        container=seat.in_container or spec.engine.image is not None,
        own_image=spec.engine.image is not None,
        gpu=one.gpu,
        driver=driver,
        shape=one.shape,
        context=spec.context,
        dtype=spec.dtype,
        quantization=spec.quantization,
        load_format=spec.load_format,
        kv_cache_dtype=spec.kv_cache_dtype,
        tensor=seat.tensor,
        pipeline=seat.pipeline,
        model_impl=spec.model_impl,
    )


def _installation(one: Sized, device: Device, notes: list[Note]) -> Installation:
    seat, said = one.seat, one.seat.spec.engine
    if said.environment is not None:
        return ExistingEngine(path=said.environment.path)
    if said.image is not None:
        return ImageEngine(image=said.image)
    if seat.spec.adopt is not None and not seat.spec.adopt.take:
        return ExistingEngine(path="")  # it runs already, from wherever it came
    if seat.in_container:
        return ImageEngine(image=_image(one, device, notes))
    sees = one.shape is not None and one.shape.vision is not None
    packages = ENGINES[said.name].packaged(one.version, device, vision=sees)
    if packages is None:
        where = f"{seat.where}.engine.version"
        text = f"is {one.version}, which Berth cannot install from packages for {device}"
        packaged = f"{newest(said.name, device)}, " if said.name == "vllm" else ""
        todo = f"use {packaged}an environment that is there already, or the runtime docker with an image"
        notes.append(refusal(where, f"{text}; {todo}"))
        return ExistingEngine(path="")
    return packages


def _image(one: Sized, device: Device, notes: list[Note]) -> str:
    """The engine's own image of the version."""
    seat = one.seat
    built = release(seat.spec.engine.name, one.version)
    if built is None or device == "cpu":
        text = f"is {one.version} on {device}, for which Berth knows no image; name one under engine.image"
        notes.append(refusal(f"{seat.where}.engine", text))
        return ""
    if seat.index == 0:
        notes.append(remark(f"{seat.where}.engine.image", f"is not said, {built.image} is taken"))
    return built.image
