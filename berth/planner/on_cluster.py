"""What of a plan is particular to a Kubernetes cluster: pods, the cluster itself, and what must agree about both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from berth.catalogue.units import Bytes
from berth.planner.memory.weights import weights
from berth.planner.notes import refusal, remark, warning
from berth.planner.over_nodes import kind_of, over_nodes, span_of
from berth.planner.placement import Seat
from berth.planner.plan import (
    ClusterPlan,
    DataConnectionPlan,
    EdgePlan,
    Note,
    PodPlan,
    TolerationPlan,
    Weights,
    service_name,
)
from berth.planner.servings import Sized
from berth.spec.gateway import Gateway
from berth.spec.hosts import Cluster
from berth.spec.problems import nearest
from berth.spec.stack import Stack


def pod_of(one: Sized, cluster: Cluster, adapters: tuple[Weights, ...]) -> PodPlan:
    """What a replica is on its cluster."""
    seat = one.seat
    kind = kind_of(seat, cluster)
    span = span_of(seat, cluster)
    return PodPlan(
        gpus=0 if seat.spec.engine.device == "cpu" else seat.size // span,
        span=span,
        resource=resource_of(seat, cluster),
        nodes=dict(kind.nodes) if kind is not None else {},
        runtime=seat.place.runtime,
        parked=seat.parked,
        service=seat.place.service,
        overlay=dict(seat.place.overlay),
        weights=_read(one),
        adapters=adapters,
    )


def clusters(stack: Stack, seats: Sequence[Seat]) -> Mapping[str, ClusterPlan]:
    """The clusters of the plan, by name."""
    return {name: _cluster(name, said, seats) for name, said in stack.clusters.items()}


def check_clusters(stack: Stack, seats: Sequence[Seat]) -> Iterator[Note]:
    """What stack file and clusters do not agree on, as far as it is known without asking the cluster."""
    yield from _kinds(stack, seats)
    yield from _counts(stack, seats)
    for seat in seats:
        if seat.on_cluster and seat.index == 0:
            yield from _connection(stack.clusters[seat.host], seat)
            yield from _like(seat, seats)
            yield from _adapters(stack.clusters[seat.host], seat)
            yield from _llm(stack.clusters[seat.host], seat)
            yield from over_nodes(stack.clusters[seat.host], seat)
    yield from _names(seats)


def resource_of(seat: Seat, cluster: Cluster) -> str:
    """The name under which nodes offer the cards that a replica takes."""
    kind = kind_of(seat, cluster)
    return kind.resource if kind is not None else "nvidia.com/gpu"


def _read(one: Sized) -> Bytes | None:
    """All that the engine reads at its start."""
    if one.shape is None or one.serving is None or one.gpu is None:
        return None
    ranks = one.seat.tensor * one.seat.pipeline
    return Bytes(weights(one.shape, one.serving, one.gpu) * ranks)


def _cluster(name: str, said: Cluster, seats: Sequence[Seat]) -> ClusterPlan:
    return ClusterPlan(
        name=name,
        kind=said.kind,
        namespace=said.namespace,
        mode=said.mode,
        kubeconfig=said.kubeconfig,
        context=said.context,
        version=said.version,
        create_namespace=said.create_namespace,
        adopt=said.adopt,
        expose=said.expose,
        runtime_class=said.runtime_class,
        display_name=said.display_name,
        tolerations=tuple(TolerationPlan(**one.model_dump()) for one in said.tolerations),
        connections={key: DataConnectionPlan(**one.model_dump()) for key, one in said.connections.items()},
        spare=spare_cards(name, said, seats),
    )


def spare_cards(name: str, said: Cluster, seats: Sequence[Seat]) -> dict[str, int]:
    """Cards of a cluster that no model uses, by resource; one of which the file gives no number is left out."""
    spare: dict[str, int] = {}
    for kind in said.gpus:
        if "count" in kind.model_fields_set:
            spare[kind.resource] = spare.get(kind.resource, 0) + kind.count
    for seat in seats:
        if seat.host == name and resource_of(seat, said) in spare:
            spare[resource_of(seat, said)] -= seat.size
    return spare


def _kinds(stack: Stack, seats: Sequence[Seat]) -> Iterator[Note]:
    """Kinds of GPU that a cluster does not have, or of which one is to be chosen."""
    for seat in seats:
        if not seat.on_cluster:
            continue
        kinds = [kind.model for kind in stack.clusters[seat.host].gpus]
        if seat.gpu is not None and seat.gpu not in kinds:
            text = f"is {seat.gpu}, must be one of the cluster's gpus: {', '.join(kinds) or 'none are said'}"
            yield refusal(f"{seat.where}.place.gpu", text)
        elif seat.gpu is None and len(kinds) > 1:
            text = f"is not said, and {seat.host} has {', '.join(kinds)}: {kinds[0]} is planned for; name one"
            yield warning(f"{seat.where}.place.gpu", text)


def _counts(stack: Stack, seats: Sequence[Seat]) -> Iterator[Note]:
    """Cards that a cluster has too few of, and what is left where they suffice."""
    used: dict[tuple[str, str], int] = {}
    for seat in seats:
        kind = kind_of(seat, stack.clusters[seat.host]) if seat.on_cluster else None
        if kind is not None:
            used[seat.host, kind.model] = used.get((seat.host, kind.model), 0) + seat.size
    for name, cluster in stack.clusters.items():
        for number, kind in enumerate(cluster.gpus):
            if "count" not in kind.model_fields_set:
                continue
            wanted, where = used.get((name, kind.model), 0), f"clusters.{name}.gpus[{number}].count"
            if wanted > kind.count:
                text = f"is {kind.count}, {wanted} are used; must be at least {wanted}; use fewer replicas"
                yield refusal(where, text)
            elif wanted:
                yield remark(where, f"is {kind.count}, {wanted} are used, {kind.count - wanted} are left")


def _connection(cluster: Cluster, seat: Seat) -> Iterator[Note]:
    """A data connection that the stack does not make must be in the namespace already."""
    source, where = seat.spec.source, f"{seat.where}.source"
    known = cluster.connections
    if source.endpoint is not None:
        text = "is given on a cluster, must be left out: KServe downloads from the hub itself; use oci, s3 or pvc"
        yield refusal(f"{where}.endpoint", text)
    if source.s3 is None:
        return
    if source.connection is None:
        if cluster.kind == "openshift-ai":
            text = "is not said, must be the data connection that opens the bucket"
            yield refusal(f"{where}.connection", f"{text}; declare it: clusters.{seat.host}.connections")
        return
    if cluster.kind == "kserve" and source.connection not in known and not source.s3.startswith("s3://"):
        text = f"is {source.s3}, must be s3://bucket/folder: only declared connections know their bucket"
        yield refusal(f"{where}.s3", text)
    if source.connection not in known and (near := nearest(source.connection, known)) is not None:
        text = f"is {source.connection}, must be one of clusters.{seat.host}.connections; did you mean {near}?"
        yield refusal(f"{where}.connection", text)
    elif source.connection not in known:
        text = (
            f"is {source.connection}, which clusters.{seat.host}.connections does not make: it must be in namespace "
            f"{cluster.namespace} already"
        )
        yield remark(f"{where}.connection", text)


def _like(first: Seat, seats: Sequence[Seat]) -> Iterator[Note]:
    """Replicas of one revision on one cluster are one service, so that they must be alike."""
    for seat in seats:
        mine = (seat.model, seat.revision, seat.host) == (first.model, first.revision, first.host)
        same = ("gpu", "runtime", "service", "overlay")
        if mine and any(getattr(seat.place, key) != getattr(first.place, key) for key in same):
            text = f"differs in {', '.join(same)} on {seat.host}, must be alike; give each kind a revision of its own"
            yield refusal(f"{seat.where}.place", text)
            return
        if mine and (seat.tensor, seat.pipeline) != (first.tensor, first.pipeline):
            yield refusal(f"{seat.where}.place", f"differs in gpus on {seat.host}, must be alike; say parallel instead")
            return


def _adapters(cluster: Cluster, seat: Seat) -> Iterator[Note]:
    """Adapters are downloaded as the model is, which a data connection of OpenShift AI cannot do for several."""
    lora, where = seat.spec.lora, f"{seat.where}.lora.adapters"
    for number, held in enumerate(lora.adapters if lora is not None else ()):
        if held.source.kind not in {"hub", "s3", "pvc"}:
            yield refusal(f"{where}[{number}].source", f"is {held.source.kind}, must be hub, s3 or pvc on a cluster")
        elif cluster.kind == "openshift-ai" and "s3" in {held.source.kind, seat.spec.source.kind}:
            text = "is beside weights from a data connection, which brings one folder; must be pvc or hub, both alike"
            yield refusal(f"{where}[{number}].source", text)


def _llm(cluster: Cluster, seat: Seat) -> Iterator[Note]:
    """What an LLMInferenceService cannot have, and what is to be known of it."""
    if seat.place.service != "llm":
        return
    where = f"{seat.where}.place.service"
    if seat.spec.lora is not None:
        yield refusal(where, "is llm, must be inference: adapters are served by an InferenceService only")
    if seat.spec.source.s3 is not None and cluster.kind == "openshift-ai":
        yield refusal(where, "is llm, must be inference: data connections of OpenShift AI are for an InferenceService")
    text = (
        "is llm: KServe starts the new pod before it stops the old one and knows no other way, so that a change waits "
        "for ever where no card is left; park the model in between, or use inference"
    )
    yield warning(where, text)


def _names(seats: Sequence[Seat]) -> Iterator[Note]:
    """Names that Kubernetes cannot take, or that two revisions would have."""
    owners: dict[tuple[str, str], str] = {}
    for seat in seats:
        if not seat.on_cluster or seat.index:
            continue
        name = service_name(seat.model, seat.revision)
        owner = owners.setdefault((seat.host, name), seat.where)
        if owner != seat.where:
            yield refusal(seat.where, f"is called {name} on {seat.host} as {owner} is, must differ; rename one")
        if not name[0].isalpha():
            text = f"is called {name} on {seat.host}, must start with a letter there; rename it, and add an alias"
            yield refusal(seat.where, text)


def edge_of(stack: Stack) -> EdgePlan | None:
    """What stands in front of a gateway on a cluster; None where only the cluster's own clients reach it."""
    said = stack.gateway.edge if stack.gateway is not None else None
    if stack.gateway is None or said is None or stack.gateway.host not in stack.clusters:
        return None
    native: Literal["route", "ingress"] = (
        "route" if stack.clusters[stack.gateway.host].kind == "openshift-ai" else "ingress"
    )
    space, _, name = (said.gateway or "").partition("/")
    return EdgePlan(
        kind=said.kind or native,
        host=said.host,
        ingress_class=said.ingress_class,
        tls_secret=said.tls_secret,
        gateway=(space, name) if name else None,
    )


def check_door(stack: Stack, said: Gateway) -> Iterator[Note]:
    """What a gateway on a cluster must and must not say."""
    if said.tls is not None:
        yield refusal("gateway.tls", "is given on a cluster, must be left out: what gateway.edge names encrypts there")
    for key in ("bind", "plain"):
        if key in said.model_fields_set:
            yield refusal(f"gateway.{key}", "is given on a cluster, must be left out: a pod has an address of its own")
    if said.open and said.edge is not None:
        yield warning("gateway.open", "is true beside edge: everyone who reaches that address may use the models")
    edge, planned = said.edge, edge_of(stack)
    if edge is None or planned is None:
        return
    if planned.kind == "gateway-api" and edge.gateway is None:
        yield refusal("gateway.edge.gateway", "is missing, must be the Gateway's namespace/name for an HTTPRoute")
    if planned.kind == "ingress" and edge.host is None:
        yield refusal("gateway.edge.host", "is missing, must be the name that clients use, for its Ingress")
    if planned.kind == "ingress" and edge.tls_secret is None:
        text = "is missing: keys and prompts can be read on the way unless the Ingress has a certificate by itself"
        yield warning("gateway.edge.tls_secret", text)
