"""A plan as plain lines for a log that has neither colour nor a known width, such as Pulumi's."""

from __future__ import annotations

from collections.abc import Iterator

from berth.catalogue.units import Bytes
from berth.planner.plan import Plan, ReplicaPlan
from berth.report.bar import GLYPHS, text
from berth.report.view import (
    CardView,
    HostView,
    Part,
    Use,
    advice,
    clean,
    conclusion,
    engine,
    gpu_memory,
    hosts,
    outcome,
    remarks,
)

_BAR = 60  # columns; Pulumi puts some 20 of its own before a line


def lines(plan: Plan) -> list[str]:
    """The whole plan; the first line is the verdict, so that a log that folds the rest still says it."""
    found = [f"{clean(plan.stack)} (profile {clean(plan.profile)}): {outcome(plan)}, {conclusion(plan)}"]
    for host in hosts(plan):
        found += _host(host)
    if any(host.cards for host in hosts(plan)):
        found.append("GiB; " + "  ".join(f"{GLYPHS[part]} {part}" for part in Part) + "  · free")
    return found + [f"{word}: {clean(line)}" for word, line in remarks(plan)]


def _host(host: HostView) -> Iterator[str]:
    if host.prepared:
        yield f"{clean(host.name)} is made ready with {clean(host.prepared)}"
    width = max((len(clean(use.name)) for card in host.cards for use in card.uses), default=0)
    for card in host.cards:
        yield f"{clean(host.name)} {card.title} ({clean(card.hardware)}): {card.verdict}{_free(card)}"
        yield f"  {text(card, _BAR)}"
        for use in card.uses:
            yield f"  {clean(use.name):<{width}}  {use.size.gib:5.1f}{_parts(use)}"
        yield from (f"  {lead}: {clean(line)}" for lead, line in advice(card))
    for replica in host.others:
        yield f"{clean(host.name)}: {_other(replica)}"


def _free(card: CardView) -> str:
    return f", {card.missing} missing" if card.missing else f", {Bytes(abs(card.free))} free"


def _parts(use: Use) -> str:
    if use.memory is None:
        return ""
    parts = " + ".join(f"{part} {size.gib:.1f}" for part, size in use.parts.items() if size)
    return f" = {parts}; {use.memory.kv_tokens} KV tokens"


def _other(replica: ReplicaPlan) -> str:
    return f"{clean(replica.name)} on {engine(replica)}, port {replica.port}, GPU memory: {gpu_memory(replica)}"
