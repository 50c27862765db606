"""In which order engines on one card are replaced, so that at no step it needs more memory than it has.

What runs now was measured, what is to run is predicted. Who shrinks goes first, who grows or is new comes after; a
surge needs room beside all that is still as large as it was. Pulumi removes last what the stack file no longer has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from berth.catalogue.units import Bytes
from berth.facts import HostFacts
from berth.planner.notes import refusal, remark
from berth.planner.plan import Note, Plan, ReplicaPlan
from berth.planner.verdict import CardVerdict
from berth.spec.stack import Stack

Held = Mapping[tuple[str, str, int], Bytes]
"""What engines of the stack hold now, by host, replica and card."""

_ALIKE = 0.05
"""Measured and predicted memory differ so much without anything having changed."""

_REPLICA = re.compile(r".+-[a-z0-9]{1,20}-[0-9]+")


def held(facts: HostFacts, folder: str, unit_prefix: str) -> Mapping[tuple[str, int], Bytes]:
    """What the replicas of a stack hold of a host's cards, by name and card.

    Args:
        facts: as they were gathered.
        folder: where the stack's services write what they say, on that host.
        unit_prefix: starts the names of the stack's systemd units and containers.
    """
    cards = {gpu.uuid: gpu.index for gpu in facts.gpus}
    unit = re.compile(rf"/{re.escape(unit_prefix)}-([^/]+?)(?:\.service)?(?:/|$)")
    found: dict[tuple[str, int], Bytes] = {}
    for process in facts.gpu_processes:
        named = unit.search(process.cgroup)
        own = process.output.removeprefix(f"{folder}/").removesuffix(".log")
        name = named[1] if named else own if process.output.startswith(f"{folder}/") else ""
        if process.uuid in cards and _REPLICA.fullmatch(name):
            key = (name, cards[process.uuid])
            found[key] = Bytes(found.get(key, 0) + process.memory)
    return found


def in_order(plan: Plan, stack: Stack, now: Held) -> Plan:
    """The plan with its replicas in the order of their starts and replacements; its notes say what has no room."""
    if not now:
        return plan
    order, notes = _Order(plan.replicas, plan.cards, now), list[Note]()
    first = sorted(plan.replicas, key=lambda one: -order.shrinks(one))
    settled = []
    for number, replica in enumerate(first):
        later = [other for other in first[number + 1 :] if order.shrinks(other)]
        notes += order.blocked(replica)
        settled.append(replace(_way(replica, order.room(replica, later), stack, notes), start_order=number))
    if [one.name for one in first] != [one.name for one in plan.replicas]:
        giving = ", ".join(one.name for one in first if order.shrinks(one))
        notes.append(remark("models", f"are replaced in another order than they start in: {giving} give memory back"))
    return replace(plan, replicas=tuple(settled), notes=(*plan.notes, *notes))


def _way(replica: ReplicaPlan, room: Bytes | None, stack: Stack, notes: list[Note]) -> ReplicaPlan:
    """The replica with another way to replace it where its surge has no room in this update."""
    if replica.on_change != "surge" or replica.memory is None or room is None or room >= replica.memory.used:
        return replica
    left = f"{max(room, Bytes(0))} of its card are left while the others are still as they were"
    why = f"a second {replica.memory.used} does not fit beside it: {left}"
    said = stack.models[replica.model].on_change
    if said == "surge":
        notes.append(refusal(f"models.{replica.model}.on_change", f"is surge, must be hold or refuse: {why}"))
        return replica
    return replace(replica, on_change="refuse" if said == "refuse" else "hold", why=why)


@dataclass(frozen=True)
class _Order:
    """What is held now and what will be, of every card."""

    replicas: Sequence[ReplicaPlan]
    cards: Sequence[CardVerdict]
    now: Held

    def shrinks(self, replica: ReplicaPlan) -> int:
        """How many bytes it gives back, over all its cards; 0 where it stays as large or grows."""
        return sum(self._excess(replica, card) for card in replica.cards)

    def room(self, replica: ReplicaPlan, later: Sequence[ReplicaPlan]) -> Bytes | None:
        """What is left for a second engine on the fullest of its cards when it is its turn; None where nobody knows."""
        free = [
            card.free
            - sum(self._gone(card).values())
            - sum(self._excess(one, card.index) for one in (*later, replica) if one.host == card.host)
            for card in self.cards
            if card.host == replica.host and card.index in replica.cards
        ]
        return Bytes(min(free)) if free else None

    def blocked(self, replica: ReplicaPlan) -> Iterator[Note]:
        """Who is new while what is to go surely holds the room for it.

        An engine that is there is never blocked: whether its definition changes is not known here, and when it does and
        the new one does not start, the old one serves on. One that crashed holds nothing and looks as if it were new;
        so its budget counts, which it asks for when it starts, and not all that it may come to hold: what has run
        beside the others before does so again.
        """
        if replica.memory is None or any((replica.host, replica.name) == key[:2] for key in self.now):
            return
        for card in self.cards:
            if card.host != replica.host or card.index not in replica.cards:
                continue
            gone = self._gone(card)
            room = card.free + replica.memory.used - sum(gone.values())
            if gone and room < min(replica.memory.budget, replica.memory.least):
                names = ", ".join(f"{name} {size}" for name, size in gone.items())
                text = (
                    f"needs {replica.memory.used} of gpu {card.index} while what ends with this update is there "
                    f"({names}), which goes last; end that in an update of its own first, or change it in place"
                )
                yield refusal(f"models.{replica.model} on {card.host}", text)

    def _excess(self, replica: ReplicaPlan, card: int) -> int:
        before = self.now.get((replica.host, replica.name, card), 0)
        if replica.memory is None or card not in replica.cards:
            return 0
        return before - replica.memory.used if before > replica.memory.used * (1 + _ALIKE) else 0

    def _gone(self, card: CardVerdict) -> Mapping[str, Bytes]:
        """What the stack file no longer has on a card."""
        there = {one.name for one in self.replicas if one.host == card.host and card.index in one.cards}
        return {
            name: size
            for (host, name, index), size in self.now.items()
            if (host, index) == (card.host, card.index) and name not in there
        }
