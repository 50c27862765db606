"""Which host, cards and port each replica gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from berth.planner.plan import Card, Note, Severity
from berth.planner.ports import assign
from berth.spec.hosts import Place
from berth.spec.models import Model, Revision
from berth.spec.problems import nearest
from berth.spec.stack import Stack

CLUSTER_PORT = 8080
"""The port of an engine in a pod, as KServe's runtimes use it."""


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One replica with its place: a host's cards and port, or a cluster."""

    model: str
    revision: str
    index: int
    spec: Revision
    where: str
    host: str
    on_cluster: bool
    gpu: str | None
    cards: tuple[int, ...]
    port: int | None

    @property
    def name(self) -> str:
        """The replica's name, as `ReplicaPlan.name`."""
        return f"{self.model}-{self.revision}-{self.index}"


def where_of(model: str, spec: Model, revision: str) -> str:
    """The path of a revision in the stack file; a model with one revision speaks for it."""
    return f"models.{model}" if len(spec.revisions) == 1 else f"models.{model}.revisions.{revision}"


def refusal(where: str, text: str) -> Note:
    """A note that stops the plan."""
    return Note(severity=Severity.REFUSAL, where=where, text=text)


def seats(
    stack: Stack, name: str, profile: str, cards: Mapping[str, tuple[Card, ...]]
) -> tuple[tuple[Seat, ...], tuple[Note, ...]]:
    """Every replica's place in the order of the file, and why some have none."""
    notes: list[Note] = []
    found: list[Seat] = []
    load: dict[tuple[str, int], float] = {}
    for model, spec in stack.models.items():
        for revision, settings in spec.revisions.items():
            where = where_of(model, spec, revision)
            index = 0
            for number, place in enumerate(settings.place):
                at = f"{where}.place[{number}]"
                for host in _hosts(stack, place, at, notes):
                    for dealt in _cards(place, settings, cards.get(host, ()), host, at, load, profile, notes):
                        seat = Seat(
                            model=model, revision=revision, index=index, spec=settings, where=where, host=host,
                            on_cluster=place.cluster is not None, gpu=place.gpu, cards=dealt, port=place.port,
                        )  # fmt: skip
                        found.append(seat)
                        index += 1
    return tuple(_with_ports(stack, name, found, notes)), tuple(notes)


def _hosts(stack: Stack, place: Place, at: str, notes: list[Note]) -> tuple[str, ...]:
    """The hosts (or the cluster) of a place."""
    if place.cluster is not None:
        return _known(place.cluster, stack.clusters, f"{at}.cluster", "clusters", notes)
    if place.host is not None:
        return _known(place.host, stack.hosts, f"{at}.host", "hosts", notes)
    members = stack.group(str(place.group))
    if not members:
        groups = sorted({host.group for host in stack.hosts.values() if host.group})
        near = nearest(place.group, groups)
        known = f"did you mean {near}?" if near else f"groups with hosts: {', '.join(groups) or 'none'}"
        notes.append(refusal(f"{at}.group", f"is {place.group}, must be a group that hosts are in; {known}"))
    return members


def _known(name: str, known: Mapping[str, object], at: str, kind: str, notes: list[Note]) -> tuple[str, ...]:
    if name in known:
        return (name,)
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"known {kind}: {', '.join(known) or 'none'}"
    notes.append(refusal(at, f"is {name}, must be one of the stack's {kind}; {hint}"))
    return ()


def _cards(
    place: Place,
    spec: Revision,
    cards: Sequence[Card],
    host: str,
    at: str,
    load: dict[tuple[str, int], float],
    profile: str,
    notes: list[Note],
) -> Iterator[tuple[int, ...]]:
    """The cards of each replica of a place; on a cluster and on a CPU there are none."""
    if place.cluster is not None:
        yield from ((),) * place.replicas
        return
    if not cards or spec.engine.device == "cpu":
        if place.asked and not cards:
            notes.append(refusal(f"{at}.gpus", f"asks for GPUs, {host} has none; declare them under hosts.{host}.gpus"))
        yield from ((),) * place.replicas
        return
    size = spec.parallel.cards
    chosen = _indices(place, size, cards, host, at, load, notes)
    part = _share(spec, profile)
    for start in range(0, len(chosen), size):
        dealt = chosen[start : start + size]
        for index in dealt:
            load[host, index] = load.get((host, index), 0.0) + part
        yield tuple(dealt)


def _indices(
    place: Place,
    size: int,
    cards: Sequence[Card],
    host: str,
    at: str,
    load: dict[tuple[str, int], float],
    notes: list[Note],
) -> list[int]:
    """As many card indices as all replicas of the place need, or none with a note."""
    have = [card.index for card in cards]
    if isinstance(place.gpus, tuple) and place.gpus:
        unknown = [index for index in place.gpus if index not in have]
        if unknown:
            text = f"names card {unknown[0]}, must be among {have} ({host} has {len(have)}); counting starts at 0"
            notes.append(refusal(f"{at}.gpus", text))
            return []
        needed = size * place.replicas
        if len(place.gpus) != needed and not (len(place.gpus) == size == 1):
            text = (
                f"names {len(place.gpus)} cards, must name {needed} ({place.replicas} replicas of {size}); "
                "change gpus, replicas or parallel"
            )
            notes.append(refusal(f"{at}.gpus", text))
            return []
        return list(place.gpus) if len(place.gpus) == needed else list(place.gpus) * place.replicas
    if isinstance(place.gpus, int) and place.gpus != size:
        text = f"is {place.gpus}, must be {size} as parallel says; a replica uses tensor x pipeline x data cards"
        notes.append(refusal(f"{at}.gpus", text))
        return []
    if size > len(have):
        text = f"needs {size} cards for one replica, {host} has {len(have)}; lower parallel or choose another host"
        notes.append(refusal(at, text))
        return []
    indices: list[int] = []
    planned = dict(load)
    for _ in range(place.replicas):
        emptiest = sorted(have, key=lambda index: (planned.get((host, index), 0.0), index))[:size]
        for index in emptiest:
            planned[host, index] = planned.get((host, index), 0.0) + 1
        indices += sorted(emptiest)
    return indices


def _share(spec: Revision, profile: str) -> float:
    if isinstance(spec.share, Mapping):
        return float(spec.share.get(profile, 1.0))
    return 1.0 if spec.share is None else spec.share


def _with_ports(stack: Stack, name: str, found: Sequence[Seat], notes: list[Note]) -> Iterator[Seat]:
    fixed = {host: _fixed(stack, host, found, notes) for host in stack.hosts}
    ports = {
        host: assign(
            name,
            [seat.name for seat in found if seat.host == host and not seat.on_cluster and seat.port is None],
            settings.engine_ports,
            fixed[host],
        )
        for host, settings in stack.hosts.items()
    }
    for seat in found:
        if seat.on_cluster:
            yield replace(seat, port=CLUSTER_PORT)
        elif seat.port is not None:
            yield seat
        else:
            port = ports[seat.host][seat.name]
            if port is None:
                notes.append(refusal(f"hosts.{seat.host}.engine_ports", "has no port left; use fewer replicas there"))
            yield replace(seat, port=port or 0)


def _fixed(stack: Stack, host: str, found: Sequence[Seat], notes: list[Note]) -> set[int]:
    """The ports of a host that the stack file names, each by one user alone."""
    users: dict[int, str] = {}
    gateway, monitoring = stack.gateway, stack.monitoring
    named: list[tuple[int, str]] = []
    if gateway is not None and gateway.host == host:
        named += [
            (gateway.port, "gateway.port"),
            (gateway.admin_port or gateway.port + 1, "gateway.admin_port"),
            (gateway.metrics_port or gateway.port + 2, "gateway.metrics_port"),
        ]
        if monitoring.prometheus is not None:
            named.append((monitoring.prometheus.port, "monitoring.prometheus.port"))
        if monitoring.grafana is not None:
            named.append((monitoring.grafana.port, "monitoring.grafana.port"))
    if monitoring.gpu:
        named.append((9400, "monitoring.gpu"))
    named += [(seat.port, f"{seat.where}.place") for seat in found if seat.host == host and seat.port is not None]
    for port, user in named:
        if port > 65535:
            notes.append(refusal(user, f"is {port}, must be at most 65535; choose a lower gateway.port"))
        elif port in users:
            notes.append(refusal(user, f"is {port} on {host}, which is also {users[port]}; must differ; change one"))
        users.setdefault(port, user)
    return set(users)
