"""What a change makes of a stack: two plans of it as the lines that went and the lines that came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import ndiff
from typing import assert_never

from berth.catalogue.units import Bytes
from berth.planner.plan import (
    HubWeights,
    ImageEngine,
    OciWeights,
    PathWeights,
    Plan,
    PvcWeights,
    RandomWeights,
    ReplicaPlan,
    S3Weights,
    Weights,
)
from berth.report.view import clean, engine, outcome, reached

_WAYS = {
    "surge": "a second one starts beside it and takes over",
    "hold": "requests wait while it is replaced",
    "refuse": "its stack refuses the gap that this needs",
}


def changes(before: Plan | None, after: Plan) -> list[str]:
    """Lines of a diff: two blanks, `-` or `+` before each; nothing where both plans are the same.

    Args:
        before: the plan of the same stack without the change; None for a stack that the change brings.
        after: the plan with it.
    """
    old, new = _items(before) if before is not None else {}, _items(after)
    found: list[str] = []
    for name in dict.fromkeys([*old, *new]):
        was, becomes = old.get(name), new.get(name)
        if was == becomes:
            continue
        if was is None or becomes is None:
            sign = "+" if was is None else "-"
            found += [f"{sign} {clean(name)}", *(f"{sign}   {line}" for line in becomes or was or ())]
        else:
            found += [f"  {clean(name)}{_way(name, after)}"]
            found += [f"{line[0]}   {line[2:]}" for line in ndiff(was, becomes) if line[0] in "-+"]
    return found


def _way(name: str, after: Plan) -> str:
    """How a running replica comes to its new form."""
    replica = next((one for one in after.replicas if one.name == name), None)
    return f": {_WAYS[replica.on_change]}" if replica is not None and replica.adopted is None else ""


def _items(plan: Plan) -> Mapping[str, list[str]]:
    """Everything of a plan that somebody would be asked about, each with its lines."""
    return {name: [clean(line) for line in lines] for name, lines in _described(plan).items()}


def _described(plan: Plan) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {"the plan": [str(outcome(plan)), f"profile {plan.profile}"]}
    for name, host in plan.hosts.items():
        cards = ", ".join(card.model for card in host.cards) or "no GPU"
        found[f"host {name}"] = [reached(host), host.runtime, cards, f"root {host.root}"]
    for replica in plan.replicas:
        found[replica.name] = list(_replica(replica))
    for card in plan.cards:
        room = f"{card.free} free" if card.free >= 0 else f"{Bytes(-card.free)} missing"
        found[f"{card.host} gpu {card.index}"] = [f"{room} of {card.total}: {card.verdict}"]
    if plan.gateway is not None:
        door = plan.gateway
        found["gateway"] = [f"on {door.host}, {door.bind}:{door.port}", f"image {door.image}"]
        found["gateway"] += [f"key {key.name}" for key in door.keys]
        for route in door.models:
            shares = ", ".join(f"{one.revision} {one.percent} %" for one in route.revisions)
            found[f"model {route.name}"] = [f"traffic {shares}", *(f"alias {alias}" for alias in route.aliases)]
    return found


def _replica(replica: ReplicaPlan) -> Iterator[str]:
    cards = f" gpu {', '.join(map(str, replica.cards))}" if replica.cards else ""
    yield f"on {replica.host}{cards}, {replica.address}:{replica.port}"
    yield engine(replica)
    if isinstance(replica.engine.installation, ImageEngine):
        yield f"image {replica.engine.installation.image}"
    yield f"weights {_weights(replica.weights)}"
    for name, value in replica.arguments.items():
        yield f"--{name}" if value is True else f"--{name} {_spelled(value)}"
    yield from (f"{name}={value}" for name, value in replica.environment.items())
    yield from (f"secret {name}" for name in replica.secrets)
    if replica.memory is not None:
        yield f"memory {replica.memory.used} on each card"
    if replica.adopted is not None:
        yield f"adopted as it runs: {replica.adopted.container or 'a process'}"


def _spelled(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _weights(weights: Weights) -> str:
    match weights:
        case HubWeights(repo=repo, revision=revision):
            return f"{repo} at {revision[:12]}"
        case PathWeights(path=path):
            return path
        case RandomWeights(shape=shape):
            return f"random {shape}"
        case S3Weights(url=url):
            return url
        case OciWeights(image=image):
            return image
        case PvcWeights(claim=claim, path=path):
            return f"volume claim {claim}/{path}".rstrip("/")
        case never:
            assert_never(never)
