"""Decides: from a stack file's `Stack` and what is known about the hosts to a `Plan`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from berth.catalogue import models
from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.engines import random_model
from berth.facts import HostFacts
from berth.planner.adoption import without_adopted
from berth.planner.advice import advice
from berth.planner.cards import Slot, cluster_gpus, host_slots
from berth.planner.checks import check
from berth.planner.compatibility import compatibility
from berth.planner.door import gateway, load, smoke
from berth.planner.driver import wanted_version
from berth.planner.facts import driver_of
from berth.planner.host_memory import host_memory, room_for_second
from berth.planner.hosts import host_plan
from berth.planner.instances import instances
from berth.planner.monitoring import monitoring
from berth.planner.notes import refusal, remark, warning
from berth.planner.on_cluster import clusters
from berth.planner.placement import Placement, with_ports
from berth.planner.plan import HostPlan, Note, Plan, ReplicaPlan
from berth.planner.pods import pods
from berth.planner.prerequisites import prerequisites
from berth.planner.readiness import Subject, missing
from berth.planner.replicas import Replicas, setup_of, version_of
from berth.planner.servings import Sized
from berth.planner.sizing import sized
from berth.planner.suggestions import with_suggestions
from berth.planner.topology import topology
from berth.planner.unbuilt import unbuilt
from berth.planner.verdict import CardVerdict, Verdict
from berth.planner.vision import with_limited_images
from berth.spec.hosts import Host
from berth.spec.sources import Source
from berth.spec.stack import Stack

Shapes = Mapping[str, ModelShape]
"""Model shapes that were read from the models themselves, by repository or folder; they come before the catalogue's."""


def plan(
    stack: Stack,
    name: str,
    profile: str | None = None,
    facts: Mapping[str, HostFacts] | None = None,
    shapes: Shapes | None = None,
) -> Plan:
    """Decide everything about a stack. Pure: the same arguments give the same plan.

    Args:
        stack: what the stack file says.
        name: the stack's name, which keeps its ports apart from those of other stacks.
        profile: which of the models' shares applies; None takes the file's.
        facts: what was observed of hosts, by name; hosts without facts are planned as declared.
        shapes: what was read of models, by repository or folder; others are looked up in the catalogue.

    Returns:
        The plan. What cannot work is in its `refusals`, all at once; a plan with refusals must not be applied.
    """
    profile = profile or stack.profile
    found = without_adopted(stack, facts or {})

    def again(changed: Stack) -> Plan:
        return _decide(changed, name, profile, found, shapes or {})

    decided = again(stack)
    if decided.verdict is not Verdict.DOES_NOT_FIT:
        return decided
    return with_suggestions(stack, decided, again)


def _decide(stack: Stack, name: str, profile: str, facts: Mapping[str, HostFacts], given: Shapes) -> Plan:
    """The plan without suggestions."""
    notes: list[Note] = []
    known = _shapes(stack, given)
    stack = with_limited_images(stack, known, notes)
    slots = host_slots(stack, facts, notes)
    kinds = cluster_gpus(stack, notes)
    cards = {host: tuple(slot.card for slot in found) for host, found in slots.items()}
    placement = Placement(stack, profile, cards, known, notes)
    placed = tuple(with_ports(stack, name, tuple(placement.seats()), notes))
    seats, resting = tuple(seat for seat in placed if not seat.parked), [seat for seat in placed if seat.parked]
    notes += check(stack, profile, seats)
    wanted = [(seat, version_of(seat), known[seat.model, seat.revision]) for seat in seats]
    sizes, verdicts = sized(wanted, slots, kinds, profile)
    unsized = [Sized(seat=seat, version=version_of(seat), shape=known[seat.model, seat.revision]) for seat in resting]
    room = partial(room_for_second, all_of_them=sizes, stack=stack, facts=facts)
    writer = Replicas(stack, profile, seats, verdicts, notes, host_room=room)
    replicas = tuple(writer.write(one, order) for order, one in enumerate(sizes))
    parked = tuple(writer.write(one, order) for order, one in enumerate(unsized, start=len(sizes)))
    door = gateway(stack, replicas, notes)
    notes += _compatibility(stack, sizes, facts)
    notes += _memory_notes(sizes, verdicts)
    notes += host_memory(stack, sizes, facts)
    notes += instances(stack, sizes, facts)
    notes += advice(stack, sizes, slots, profile)
    notes += topology(sizes, facts)
    notes += pods(stack, facts)
    hosts = {host: _host(host, settings, slots[host], facts, notes) for host, settings in stack.hosts.items()}
    notes += _lacking(hosts, replicas, facts)
    missing = tuple(unbuilt(stack))
    notes += [warning(where, text) for where, text in missing]
    return Plan(
        stack=name,
        profile=profile,
        hosts=hosts,
        replicas=replicas,
        gateway=door,
        smoke=tuple(smoke(stack)),
        load=tuple(load(stack)),
        monitoring=monitoring(stack),
        cards=verdicts,
        notes=tuple(dict.fromkeys(notes)),
        secrets=frozenset(_secrets(stack)),
        clusters=clusters(stack, seats),
        unbuilt=tuple(f"{where}: {text}" for where, text in missing),
        parked=parked,
    )


def _shapes(stack: Stack, given: Shapes) -> Mapping[tuple[str, str], ModelShape | None]:
    """The shape of every revision; None where nothing is known of its model."""
    return {
        (model, revision): _shape(settings.source, given)
        for model, spec in stack.models.items()
        for revision, settings in spec.revisions.items()
    }


def _shape(source: Source, given: Shapes) -> ModelShape | None:
    place = str(getattr(source, source.kind))
    if place in given:
        return given[place]
    if source.kind == "random":
        return _random_shape(place)
    names = [source.shape] if source.shape is not None else [place.rstrip("/")]
    for name in names:
        try:
            return models.find(name)
        except models.UnknownModel:
            continue
    return None


@cache
def _random_shape(name: str) -> ModelShape | None:
    if name not in random_model.SHAPES:
        return None
    config = json.loads(random_model.files(name)["config.json"])
    return models.read_config(config, name=name, origin="berth.engines.random_model")


def _compatibility(stack: Stack, sizes: Sequence[Sized], facts: Mapping[str, HostFacts]) -> Iterator[Note]:
    """What does not go together, said once for each revision and kind of card."""
    seen: set[tuple[str, str, str | None]] = set()
    for one in sizes:
        driver = _driver(stack, one.seat.host, facts, [one.gpu] if one.gpu is not None else [])
        what = (one.seat.where, one.gpu.id if one.gpu is not None else "", driver)
        if what not in seen:
            seen.add(what)
            guest = one.seat.host in facts and facts[one.seat.host].guest
            yield from compatibility(replace(setup_of(one, driver), guest=guest))


def _driver(stack: Stack, host: str, facts: Mapping[str, HostFacts], cards: Sequence[Gpu]) -> str | None:
    """The driver that a host will have: what the stack installs, else what was observed."""
    said = stack.hosts[host].prerequisites.driver if host in stack.hosts else None
    return wanted_version(said, cards) or (driver_of(facts[host]) if host in facts else None)


def _memory_notes(sizes: Sequence[Sized], cards: Sequence[CardVerdict]) -> Iterator[Note]:
    """What the verdicts on memory mean for each replica."""
    for one in sizes:
        seat = one.seat
        on = f"{seat.where} on {seat.host}" + (f" gpu {','.join(map(str, seat.cards))}" if seat.cards else "")
        if one.memory is None:
            if seat.cards or seat.on_cluster:
                yield from _unknown(one, on)
            continue
        reasons = "; ".join(one.memory.reasons)
        if one.memory.verdict is Verdict.DOES_NOT_FIT:
            yield refusal(on, f"does not fit: {reasons}{_neighbours(one, cards)}")
        elif one.memory.verdict is Verdict.TIGHT:
            yield warning(on, f"is tight: {reasons}")
        elif one.memory.verdict is Verdict.UNKNOWN:
            yield warning(on, f"may fit or not: {reasons}")
        if one.chosen and one.serving is not None and seat.index == 0:
            yield remark(f"{seat.where}.share", _choice(one))


def _unknown(one: Sized, on: str) -> Iterator[Note]:
    if one.shape is None:
        place = getattr(one.seat.spec.source, one.seat.spec.source.kind)
        yield warning(on, f"may fit or not: {place} is not in the catalogue; name a model like it in source.shape")
    elif one.gpu is None and one.seat.on_cluster:
        yield warning(on, f"may fit or not: the cluster's GPUs are not said; add clusters.{one.seat.host}.gpus")


def _neighbours(one: Sized, cards: Sequence[CardVerdict]) -> str:
    for card in cards:
        if card.host == one.seat.host and card.index in one.seat.cards and len(card.uses) > 1:
            others = ", ".join(f"{name} {size}" for name, size in card.uses if name != one.seat.name)
            return f" (also there: {others})"
    return ""


def _choice(one: Sized) -> str:
    serving = one.serving
    if serving is None:
        return ""
    if serving.kv_cache_bytes is not None:
        return (
            f"is not said: a KV cache of {serving.kv_cache_bytes.gib:.2f} GiB is given in bytes, "
            f"and {serving.share:g} of the card for the engine's check of free memory"
        )
    return f"is not said: {serving.share:g} of the card is chosen"


def _host(name: str, host: Host, slots: Sequence[Slot], facts: Mapping[str, HostFacts], notes: list[Note]) -> HostPlan:
    """One machine with its cards, and what its prerequisites come to where it was found."""
    kinds = {slot.card.index: slot.gpu for slot in slots}
    found = prerequisites(name, host, facts.get(name), kinds, notes)
    return replace(host_plan(name, host, tuple(slot.card for slot in slots)), prerequisites=found)


def _lacking(
    hosts: Mapping[str, HostPlan], replicas: Sequence[ReplicaPlan], facts: Mapping[str, HostFacts]
) -> Iterator[Note]:
    """What machines that were found lack, and nobody declares."""
    for name, host in hosts.items():
        if name in facts:
            there = [replica for replica in replicas if replica.host == name]
            yield from missing(Subject(host=host, replicas=there, facts=facts[name]))


def _secrets(stack: Stack) -> Iterator[str]:
    """The name of every secret the stack uses."""
    for host in stack.hosts.values():
        if host.connection != "local" and host.connection.ssh.sudo_password is not None:
            yield host.connection.ssh.sudo_password
        for opened in host.connections.values():
            yield from (opened.access_key, opened.secret_key)
    for cluster in stack.clusters.values():
        if cluster.kubeconfig is not None:
            yield cluster.kubeconfig
        for opened in cluster.connections.values():
            yield from (opened.access_key, opened.secret_key)
    for model in stack.models.values():
        for revision in model.revisions.values():
            adapters = revision.lora.adapters if revision.lora is not None else ()
            sources = (revision.source, *(adapter.source for adapter in adapters))
            yield from (source.token for source in sources if source.token is not None)
            yield from revision.secrets.values()
    if stack.gateway is not None:
        yield from (key.secret for key in stack.gateway.keys)
