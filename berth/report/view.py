"""What every format shows of a plan: hosts, their cards, what lies on each card, and one word for the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby

from berth.catalogue.units import Bytes
from berth.planner.plan import HostPlan, Local, Plan, ReplicaPlan, Severity, Ssh
from berth.planner.verdict import CardVerdict, ReplicaMemory, Verdict


class Part(StrEnum):
    """The kinds of memory a reader tells apart; every term of the planner belongs to one."""

    WEIGHTS = "weights"
    KV = "KV cache"
    ACTIVATIONS = "activations"
    OVERHEAD = "overhead"


_SHOWN = Bytes.from_gib(0.05)
_ACTIVATIONS = ("activation", "graph", "profil")


def part_of(term: str) -> Part:
    """The kind of memory a term of the planner belongs to, by its name; what is not known is overhead."""
    name = term.lower()
    if "weight" in name or "adapter" in name or "lora" in name:
        return Part.WEIGHTS
    if name.startswith("kv") or "cache" in name:
        return Part.KV
    return Part.ACTIVATIONS if any(word in name for word in _ACTIVATIONS) else Part.OVERHEAD


@dataclass(frozen=True, kw_only=True)
class Use:
    """One replica, or something else, on one card; `parts` add up to `size`. `memory` is None for what is not ours."""

    name: str
    size: Bytes
    parts: Mapping[Part, Bytes]
    memory: ReplicaMemory | None = None


@dataclass(frozen=True, kw_only=True)
class CardView:
    """One card, or several of one host that carry exactly the same; all sizes are those of one card."""

    host: str
    indices: tuple[int, ...]
    model: str
    total: Bytes
    uses: tuple[Use, ...]
    free: Bytes
    verdict: Verdict
    reasons: tuple[str, ...]
    suggestions: tuple[str, ...]

    @property
    def title(self) -> str:
        """`gpu 0`, or `gpus 0, 1` for like ones."""
        return f"gpu{'s' if len(self.indices) > 1 else ''} {', '.join(map(str, self.indices))}"

    @property
    def hardware(self) -> str:
        """`RTX 5090, 31.8 GiB`, or `2 x A40, 44.4 GiB each` for like ones."""
        count = len(self.indices)
        return f"{count} x {self.model}, {self.total} each" if count > 1 else f"{self.model}, {self.total}"

    @property
    def missing(self) -> Bytes:
        """What the card does not have; none when it is less than a number of a report can show."""
        return Bytes(-self.free) if -self.free >= _SHOWN else Bytes(0)

    @property
    def scale(self) -> Bytes:
        """What the whole width of a bar stands for: the card, or what is asked of it when that is more."""
        return Bytes(max(self.total, sum(use.size for use in self.uses), 1))


@dataclass(frozen=True, kw_only=True)
class HostView:
    """One host or cluster with its cards, and its replicas that lie on none of them (a CPU's, a cluster's).

    `prepared` is what the host is made ready with, in words; empty where nothing is declared, or the plan is refused.
    """

    name: str
    reached: str
    runtime: str
    cards: tuple[CardView, ...] = ()
    others: tuple[ReplicaPlan, ...] = field(default=())
    prepared: str = ""


def hosts(plan: Plan) -> tuple[HostView, ...]:
    """All hosts and clusters of the plan, in the order of the stack file."""
    replicas = {replica.name: replica for replica in plan.replicas}
    machines = [
        replace(
            _host(name, reached(host), host.runtime, plan, replicas), prepared="" if plan.refusals else prepared(host)
        )
        for name, host in plan.hosts.items()
    ]
    clusters = [
        _host(name, f"namespace {cluster.namespace}, {cluster.mode} mode", cluster.kind, plan, replicas)
        for name, cluster in plan.clusters.items()
    ]
    return tuple(machines + clusters)


def _host(name: str, way: str, runtime: str, plan: Plan, replicas: Mapping[str, ReplicaPlan]) -> HostView:
    cards = tuple(_fold(_card(card, replicas) for card in plan.cards if card.host == name))
    shown = {use.name for card in cards for use in card.uses}
    return HostView(
        name=name,
        reached=way,
        runtime=runtime,
        cards=cards,
        others=tuple(replica for replica in plan.replicas if replica.host == name and replica.name not in shown),
    )


def prepared(host: HostPlan) -> str:
    """What is installed and set on the host: `driver 580 (open modules), docker-ce`; names alone before it was seen."""
    made = host.prerequisites
    if made is None:
        return ", ".join(part.replace("_", " ") for part in sorted(host.declares))
    parts = []
    if made.driver is not None:
        parts.append(f"driver {made.driver.wanted} ({made.driver.flavour} modules)")
    if made.docker is not None:
        parts.append(next(iter(made.docker.packages.packages)))
    if made.toolkit is not None:
        parts.append("container toolkit")
    counts = ((made.sysctl, "kernel setting"), (made.limits, "limit"), (made.users, "account"))
    parts += [f"{len(found)} {word}{'s' if len(found) > 1 else ''}" for found, word in counts if found]
    return ", ".join(parts)


def reached(host: HostPlan) -> str:
    """How the host is reached, in a few words: `this machine` or `ubuntu@10.0.0.5`."""
    match host.connection:
        case Local():
            return "this machine"
        case Ssh(host=address, user=user, port=port):
            return f"{f'{user}@' if user else ''}{address}{f':{port}' if port != 22 else ''}"


def _card(card: CardVerdict, replicas: Mapping[str, ReplicaPlan]) -> CardView:
    uses = tuple(_use(name, size, replicas.get(name)) for name, size in card.uses)
    # The card's reasons sum up those of its replicas; these speak for themselves only where the card says nothing.
    own = [(use, use.memory) for use in uses if use.memory is not None and use.memory.verdict is not Verdict.FITS]
    return CardView(
        host=card.host,
        indices=(card.index,),
        model=card.model,
        total=card.total,
        uses=uses,
        free=card.free,
        verdict=card.verdict,
        reasons=_once(card.reasons or [f"{use.name}: {text}" for use, memory in own for text in memory.reasons]),
        suggestions=_once(card.suggestions or [text for _, memory in own for text in memory.suggestions]),
    )


def _use(name: str, size: Bytes, replica: ReplicaPlan | None) -> Use:
    memory = replica.memory if replica else None
    parts = dict.fromkeys(Part, Bytes(0))
    for term in memory.terms if memory else ():
        parts[part_of(term.name)] += term.size
    # What a card carries beyond the explained terms (another process, rounding) is overhead, so that rows add up.
    parts[Part.OVERHEAD] += size - sum(parts.values())
    if parts[Part.OVERHEAD] < 0:
        parts = {**dict.fromkeys(Part, Bytes(0)), Part.OVERHEAD: size}
    return Use(name=name, size=size, parts=parts, memory=memory)


def _fold(cards: Iterable[CardView]) -> Iterable[CardView]:
    """Neighbouring cards that carry exactly the same (a model over several cards) become one view."""
    for _, group in groupby(cards, key=lambda card: replace(card, indices=())):
        alike = list(group)
        yield replace(alike[0], indices=tuple(index for card in alike for index in card.indices))


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def engine(replica: ReplicaPlan) -> str:
    """`vllm 0.10.1.1 (cuda)`."""
    return clean(f"{replica.engine.name} {replica.engine.version} ({replica.engine.device})")


def gpu_memory(replica: ReplicaPlan) -> str:
    """What a replica that is on no card of the plan needs of one, such as on a cluster: size and verdict, in words."""
    if replica.memory is not None:
        return f"{replica.memory.used} per GPU, {replica.memory.verdict}"
    return "none" if replica.engine.device == "cpu" else "not known"


def advice(card: CardView) -> Iterable[tuple[str, str]]:
    """Why a card does not simply fit and what to change, each with the word that leads it; nothing when it fits."""
    if card.verdict is Verdict.FITS:
        return
    yield from (("because", reason) for reason in card.reasons)
    lead = "to fit" if card.verdict is Verdict.DOES_NOT_FIT else "for more room"
    yield from (("or" if number else lead, text) for number, text in enumerate(card.suggestions))


class Outcome(StrEnum):
    """One word for the whole plan; a refusal stops everything, however well the rest fits."""

    FITS = "fits"
    TIGHT = "tight"
    UNKNOWN = "unknown"
    DOES_NOT_FIT = "does not fit"
    REFUSED = "refused"


def outcome(plan: Plan) -> Outcome:
    """The plan in one word."""
    if plan.verdict is Verdict.DOES_NOT_FIT:
        return Outcome.DOES_NOT_FIT
    return Outcome.REFUSED if plan.refusals else Outcome(plan.verdict.value)


def stops(plan: Plan) -> bool:
    """Whether nothing of this plan may be made: it does not fit or is refused."""
    return outcome(plan) in {Outcome.DOES_NOT_FIT, Outcome.REFUSED}


def conclusion(plan: Plan) -> str:
    """One sentence for the whole plan, without the word of the outcome: what is placed and where it is closest."""
    replicas, cards = len(plan.replicas), len(plan.cards)
    placed = f"{replicas} replica{'' if replicas == 1 else 's'} on "
    placed += f"{cards} GPU{'' if cards == 1 else 's'}" if cards else "no GPU"
    if refusals := len(plan.refusals):
        return f"{placed}; {refusals} refusal{'' if refusals == 1 else 's'}, nothing will be made"
    if not plan.cards:
        return placed
    closest = min(plan.cards, key=lambda card: card.free)
    place = f"on {closest.host} gpu {closest.index}"
    if -closest.free >= _SHOWN:
        return f"{placed}; {Bytes(-closest.free)} are missing {place}"
    return f"{placed}; {Bytes(max(0, closest.free))} free {place}{', the fullest' if cards > 1 else ''}"


def remarks(plan: Plan) -> tuple[tuple[str, str], ...]:
    """What to know about the plan, each with its word: refusals, warnings, what cannot be applied yet, notes."""
    said = [(note.severity.value, str(note)) for note in plan.notes if str(note) not in plan.unbuilt]
    said += [("not yet", text) for text in plan.unbuilt]
    order = [Severity.REFUSAL, Severity.WARNING, "not yet", Severity.NOTE]
    return tuple(dict.fromkeys(sorted(said, key=lambda remark: order.index(remark[0]))))


def clean(text: str) -> str:
    """Text on one line: line breaks become spaces, control characters (a terminal would obey them) go."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())
