"""Which host, cards and port each replica gets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from berth.catalogue.models import ModelShape
from berth.planner.notes import refusal, remark, warning
from berth.planner.plan import Card, Note
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
    in_container: bool
    gpu: str | None
    cards: tuple[int, ...]
    tensor: int
    pipeline: int
    port: int | None
    place: Place
    address: str = "127.0.0.1"
    spare_port: int = 0
    parked: bool = False

    @property
    def name(self) -> str:
        """The replica's name, as `ReplicaPlan.name`."""
        return f"{self.model}-{self.revision}-{self.index}"

    @property
    def size(self) -> int:
        """How many cards the replica takes; none on a CPU."""
        return len(self.cards) if not self.on_cluster else self.tensor * self.pipeline * self.spec.parallel.data

    @property
    def runs_already(self) -> bool:
        """Whether Berth never starts it: it is adopted and not taken over."""
        return self.spec.adopt is not None and not self.spec.adopt.take


def firsts(seats: Iterable[Seat]) -> frozenset[str]:
    """The names of the first replica of each revision on each host, for what is said once there for all of them."""
    first: dict[tuple[str, str], str] = {}
    for seat in seats:
        first.setdefault((seat.where, seat.host), seat.name)
    return frozenset(first.values())


def where_of(model: str, spec: Model, revision: str) -> str:
    """The path of a revision in the stack file; a model with one revision speaks for it."""
    return f"models.{model}" if len(spec.revisions) == 1 else f"models.{model}.revisions.{revision}"


class Placement:
    """Gives every replica its place, in the order of the file; why some have none goes to `notes`."""

    def __init__(
        self,
        stack: Stack,
        profile: str,
        cards: Mapping[str, tuple[Card, ...]],
        shapes: Mapping[tuple[str, str], ModelShape | None],
        notes: list[Note],
    ) -> None:
        self._stack, self._profile, self._cards, self._shapes, self._notes = stack, profile, cards, shapes, notes
        self._load: dict[tuple[str, int], float] = {}

    def seats(self) -> Iterator[Seat]:
        """Every replica of every model; ports follow when all are known."""
        for model, spec in self._stack.models.items():
            for revision, settings in spec.revisions.items():
                yield from self._revision(model, revision, settings, where_of(model, spec, revision))

    def _revision(self, model: str, revision: str, spec: Revision, where: str) -> Iterator[Seat]:
        index = 0
        for number, place in enumerate(spec.place):
            at = f"{where}.place[{number}]"
            for host in self._hosts(place, at):
                tensor, pipeline = self._spread(spec, place, self._shapes.get((model, revision)), host, where)
                size = tensor * pipeline * spec.parallel.data
                for dealt in self._dealt(place, spec, host, size, at):
                    on_cluster = place.cluster is not None
                    yield Seat(
                        model=model, revision=revision, index=index, spec=spec, where=where, host=host,
                        on_cluster=on_cluster,
                        in_container=on_cluster or self._stack.hosts[host].runtime == "docker",
                        gpu=place.gpu, cards=dealt, tensor=tensor, pipeline=pipeline, port=place.port,
                        address=place.address, place=place,
                        parked=revision in self._stack.models[model].parked,
                    )  # fmt: skip
                    index += 1

    def _hosts(self, place: Place, at: str) -> tuple[str, ...]:
        """The hosts (or the cluster) of a place."""
        if place.cluster is not None:
            return self._known(place.cluster, self._stack.clusters, f"{at}.cluster", "clusters")
        if place.host is not None:
            return self._known(place.host, self._stack.hosts, f"{at}.host", "hosts")
        members = self._stack.group(str(place.group))
        if not members:
            groups = sorted({host.group for host in self._stack.hosts.values() if host.group})
            near = nearest(place.group, groups)
            known = f"did you mean {near}?" if near else f"groups with hosts: {', '.join(groups) or 'none'}"
            self._notes.append(refusal(f"{at}.group", f"is {place.group}, must be a group that hosts are in; {known}"))
        return members

    def _known(self, name: str, known: Mapping[str, object], at: str, kind: str) -> tuple[str, ...]:
        if name in known:
            return (name,)
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"known {kind}: {', '.join(known) or 'none'}"
        self._notes.append(refusal(at, f"is {name}, must be one of the stack's {kind}; {hint}"))
        return ()

    def _spread(self, spec: Revision, place: Place, shape: ModelShape | None, host: str, where: str) -> tuple[int, int]:
        """Tensor and pipeline sizes: as the file says, else chosen for the cards that it gives one replica."""
        if "parallel" in spec.model_fields_set:
            return spec.parallel.tensor, spec.parallel.pipeline
        given = place.asked if isinstance(place.gpus, int) else place.asked // place.replicas
        if given <= 1 or (spec.engine.device == "cpu"):
            return 1, 1
        tensor = max(size for size in range(1, given + 1) if given % size == 0 and _divides(shape, size))
        pipeline = given // tensor
        text = f"is not said: {given} cards on {host} are used as tensor {tensor} x pipeline {pipeline}"
        why = "" if tensor == given or shape is None else f"; {shape.heads} attention heads do not divide by {given}"
        self._notes.append(remark(f"{where}.parallel", text + why))
        return tensor, pipeline

    def _dealt(self, place: Place, spec: Revision, host: str, size: int, at: str) -> Iterator[tuple[int, ...]]:
        """The cards of each replica of a place; on a cluster and on a CPU there are none."""
        if place.cluster is not None:
            yield from ((),) * place.replicas
            return
        cards = self._cards.get(host, ())
        if not cards or spec.engine.device == "cpu":
            yield from self._without_cards(place, spec, host, at, cards)
            return
        chosen = self._indices(place, size, cards, host, at)
        part = _share(spec, self._profile)
        for start in range(0, len(chosen), size):
            dealt = chosen[start : start + size]
            for index in dealt:
                self._load[host, index] = self._load.get((host, index), 0.0) + part
            yield tuple(dealt)

    def _without_cards(
        self, place: Place, spec: Revision, host: str, at: str, cards: Sequence[Card]
    ) -> Iterator[tuple[int, ...]]:
        if not cards and (place.asked or spec.engine.device == "cuda"):
            text = f"asks for GPUs, {host} has none; declare them under hosts.{host}.gpus or leave device out"
            self._notes.append(refusal(f"{at}.gpus", text))
            return
        if place.asked:
            self._notes.append(warning(f"{at}.gpus", "says nothing where engine.device is cpu; leave one of them out"))
        yield from ((),) * place.replicas

    def _indices(self, place: Place, size: int, cards: Sequence[Card], host: str, at: str) -> list[int]:
        """As many card indices as all replicas of the place need, or none with a note."""
        have = [card.index for card in cards]
        if isinstance(place.gpus, tuple) and place.gpus:
            problem = _named(place, size, have, host)
            if problem is None:
                return list(place.gpus) if len(place.gpus) > 1 else list(place.gpus) * place.replicas
            self._notes.append(refusal(f"{at}.gpus", problem))
            return []
        if isinstance(place.gpus, int) and place.gpus != size:
            text = f"is {place.gpus}, must be {size} as parallel says; a replica uses tensor x pipeline x data cards"
            self._notes.append(refusal(f"{at}.gpus", text))
            return []
        if size > len(have):
            text = f"needs {size} cards for one replica, {host} has {len(have)}; lower parallel or choose another host"
            self._notes.append(refusal(at, text))
            return []
        indices: list[int] = []
        planned = dict(self._load)
        for _ in range(place.replicas):
            emptiest = sorted(have, key=lambda index: (planned.get((host, index), 0.0), index))[:size]
            for index in emptiest:
                planned[host, index] = planned.get((host, index), 0.0) + 1
            indices += sorted(emptiest)
        return indices


def _named(place: Place, size: int, have: Sequence[int], host: str) -> str | None:
    """What is wrong with the cards that a place names; None when nothing is."""
    if not isinstance(place.gpus, tuple):
        return None
    unknown = [index for index in place.gpus if index not in have]
    if unknown:
        return f"names card {unknown[0]}, must be among {list(have)} ({host} has {len(have)}); counting starts at 0"
    needed = size * place.replicas
    if len(place.gpus) == needed or len(place.gpus) == size == 1:
        return None
    return (
        f"names {len(place.gpus)} cards, must name {needed} ({place.replicas} replicas of {size}); change gpus, "
        "replicas or parallel"
    )


def _divides(shape: ModelShape | None, tensor: int) -> bool:
    """Whether attention heads and key-value heads can be dealt out to so many ranks."""
    if shape is None:
        return True
    return shape.heads % tensor == 0 and (shape.kv_heads % tensor == 0 or tensor % shape.kv_heads == 0)


def _share(spec: Revision, profile: str) -> float:
    """How much of a card a replica takes, as far as placement cares."""
    if isinstance(spec.share, Mapping):
        return float(spec.share.get(profile, 1.0))
    return 1.0 if spec.share is None else spec.share


def with_ports(stack: Stack, name: str, found: Sequence[Seat], notes: list[Note]) -> Iterator[Seat]:
    """Seats with their ports: named ones, and others from the host's range."""
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
    spare = {
        host: assign(
            name,
            [f"{seat.name}-spare" for seat in found if seat.host == host and not seat.on_cluster],
            settings.engine_ports,
            {*fixed[host], *(port for port in ports[host].values() if port is not None)},
        )
        for host, settings in stack.hosts.items()
    }
    for seat in found:
        if seat.on_cluster:
            yield replace(seat, port=CLUSTER_PORT)
            continue
        port = seat.port or ports[seat.host][seat.name]
        if port is None:
            notes.append(refusal(f"hosts.{seat.host}.engine_ports", "has no port left; use fewer replicas there"))
        yield replace(seat, port=port or 0, spare_port=spare[seat.host][f"{seat.name}-spare"] or 0)


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
    if monitoring.gpu is not None:
        named.append((monitoring.gpu.port, "monitoring.gpu.port"))
    named += [(seat.port, f"{seat.where}.place") for seat in found if seat.host == host and seat.port is not None]
    for port, user in named:
        if port > 65535:
            notes.append(refusal(user, f"is {port}, must be at most 65535; choose a lower gateway.port"))
        elif port in users:
            notes.append(refusal(user, f"is {port} on {host}, which is also {users[port]}; must differ; change one"))
        users.setdefault(port, user)
    return set(users)
