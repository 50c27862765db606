"""Decides: from a stack file's `Stack` and what is known about the hosts to a `Plan`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from berth.engines import random_model
from berth.engines.vllm import VLLM
from berth.planner.facts import HostFacts
from berth.planner.placement import Seat, refusal, seats
from berth.planner.plan import (
    Argument,
    Card,
    ClusterPlan,
    EnginePlan,
    ExistingEngine,
    GatewayPlan,
    HostPlan,
    HubWeights,
    ImageEngine,
    Installation,
    KeyPlan,
    Local,
    ModelRoute,
    Note,
    OciWeights,
    PackagedEngine,
    PathWeights,
    Plan,
    RandomWeights,
    ReplicaPlan,
    RevisionShare,
    S3Weights,
    SmokePlan,
    Ssh,
    Weights,
)
from berth.spec.hosts import Host
from berth.spec.models import Revision, Source
from berth.spec.problems import nearest
from berth.spec.stack import Stack

NEWEST = {"vllm": "0.32.0", "sglang": "0.5.18", "tgi": "3.3.7"}


def plan(stack: Stack, name: str, profile: str | None = None, facts: Mapping[str, HostFacts] | None = None) -> Plan:
    """Decide everything about a stack. Pure: the same arguments give the same plan.

    Args:
        stack: what the stack file says.
        name: the stack's name, which keeps its ports apart from those of other stacks.
        profile: which of the models' shares applies; None takes the file's.
        facts: what was observed of hosts, by name; hosts without facts are planned as declared.

    Returns:
        The plan. What cannot work is in its `refusals`, all at once; a plan with refusals must not be applied.
    """
    profile = profile or stack.profile
    facts = facts or {}
    cards: dict[str, tuple[Card, ...]] = dict.fromkeys(stack.hosts, ())
    placed, notes = seats(stack, name, profile, cards)
    found = [*notes, *_names(stack)]
    replicas = tuple(
        _replica(seat, stack.models[seat.model].aliases, order, found) for order, seat in enumerate(placed)
    )
    gateway = _gateway(stack, replicas, found)
    return Plan(
        stack=name,
        profile=profile,
        hosts={host: _host(host, settings, cards[host]) for host, settings in stack.hosts.items()},
        replicas=replicas,
        gateway=gateway,
        smoke=tuple(_smoke(stack)) if gateway is not None else (),
        cards=(),
        notes=tuple(found),
        secrets=frozenset(_secrets(stack)),
        clusters={
            name: ClusterPlan(
                name=name,
                kind=cluster.kind,
                namespace=cluster.namespace,
                mode=cluster.mode,
                kubeconfig=cluster.kubeconfig,
                context=cluster.context,
            )
            for name, cluster in stack.clusters.items()
        },
        unbuilt=tuple(_unbuilt(stack)),
    )


def _names(stack: Stack) -> Iterator[Note]:
    """Served names that two models claim."""
    owners: dict[str, str] = {name: f"models.{name}" for name in stack.models}
    for model, spec in stack.models.items():
        for number, alias in enumerate(spec.aliases):
            where = f"models.{model}.aliases[{number}]"
            if alias in owners:
                yield refusal(where, f"is {alias}, which {owners[alias]} has already; must be served by one model")
            owners.setdefault(alias, where)


def _host(name: str, host: Host, cards: tuple[Card, ...]) -> HostPlan:
    connection: Local | Ssh = Local()
    if host.connection != "local":
        connection = Ssh(**host.connection.ssh.model_dump())
    return HostPlan(name=name, connection=connection, runtime=host.runtime, root=host.root, init=host.init, cards=cards)


def _replica(seat: Seat, aliases: tuple[str, ...], order: int, notes: list[Note]) -> ReplicaPlan:
    spec = seat.spec
    engine = _engine(seat, notes)
    environment = dict(spec.environment)
    if engine.device == "cpu" and engine.name == "vllm":
        gib = max(1, math.ceil((spec.kv_cache or 2**30) / 2**30))
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", str(gib))
    return ReplicaPlan(
        model=seat.model,
        revision=seat.revision,
        index=seat.index,
        host=seat.host,
        cards=seat.cards,
        port=seat.port or 0,
        engine=engine,
        weights=weights_of(spec.source, seat.where, notes),
        served_names=(seat.model, *aliases),
        arguments=_arguments(spec),
        environment=environment,
        secrets=dict(spec.secrets),
        on_change="hold",
        start_order=order,
        start_timeout_s=spec.start_timeout,
        stop_timeout_s=spec.stop_timeout,
        max_concurrency=spec.concurrency or 256,
    )


def _arguments(spec: Revision) -> dict[str, Argument]:
    arguments: dict[str, Argument] = {}
    if spec.context is not None:
        arguments["max-model-len"] = spec.context
    if spec.concurrency is not None:
        arguments["max-num-seqs"] = spec.concurrency
    if spec.dtype != "auto":
        arguments["dtype"] = spec.dtype
    if spec.source.random is not None:
        arguments["load-format"] = "dummy"
    arguments.update({name.removeprefix("--").replace("_", "-"): value for name, value in spec.args.items()})
    return arguments


def _engine(seat: Seat, notes: list[Note]) -> EnginePlan:
    engine = seat.spec.engine
    version = engine.version or NEWEST[engine.name]
    device = engine.device or ("cuda" if seat.cards or seat.on_cluster else "cpu")
    installation: Installation = ExistingEngine(path="")
    if engine.environment is not None:
        installation = ExistingEngine(path=engine.environment.path)
    elif engine.image is not None:
        installation = ImageEngine(image=engine.image)
    else:
        package = VLLM.packaged(version, device) if engine.name == "vllm" else None
        if package is None:
            text = f"is {version}, which Berth cannot install for {device}; use {NEWEST[engine.name]} or an image"
            notes.append(refusal(f"{seat.where}.engine.version", text))
        else:
            installation = PackagedEngine(
                requirements=package.requirements,
                overrides=package.overrides,
                overlay=package.overlay,
                python=package.python,
            )
    return EnginePlan(name=engine.name, version=version, device=device, installation=installation)


def weights_of(source: Source, where: str, notes: list[Note]) -> Weights:
    """Where a model's weights come from, as the plan says it."""
    if source.hub is not None:
        endpoint = {"endpoint": source.endpoint} if source.endpoint is not None else {}
        return HubWeights(repo=source.hub, revision=str(source.revision), token=source.token, **endpoint)
    if source.path is not None:
        return PathWeights(path=source.path)
    if source.s3 is not None:
        return S3Weights(url=source.s3, connection=source.connection)
    if source.oci is not None:
        return OciWeights(image=source.oci)
    shape = str(source.random)
    if shape not in random_model.SHAPES:
        near = nearest(shape, random_model.SHAPES)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(random_model.SHAPES)}"
        notes.append(refusal(f"{where}.source.random", f"is {shape}, must be a random model that Berth knows; {hint}"))
    return RandomWeights(shape=shape)


def _gateway(stack: Stack, replicas: tuple[ReplicaPlan, ...], notes: list[Note]) -> GatewayPlan | None:
    gateway = stack.gateway
    if gateway is None:
        return None
    if gateway.host not in stack.hosts:
        near = nearest(gateway.host, stack.hosts)
        hint = f"did you mean {near}?" if near else f"known hosts: {', '.join(stack.hosts) or 'none'}"
        notes.append(refusal("gateway.host", f"is {gateway.host}, must be one of the stack's hosts; {hint}"))
    return GatewayPlan(
        host=gateway.host,
        bind=gateway.bind,
        port=gateway.port,
        admin_port=gateway.admin_port or gateway.port + 1,
        metrics_port=gateway.metrics_port or gateway.port + 2,
        open=gateway.open,
        keys=tuple(KeyPlan(name=key.name, secret=key.secret) for key in gateway.keys)
        or (() if gateway.open else (KeyPlan(name="default"),)),
        models=tuple(_route(stack, model, replicas) for model in stack.models),
        max_body=gateway.max_body,
        idle_timeout_s=gateway.idle_timeout,
        hold_limit_s=gateway.hold_limit,
    )


def _route(stack: Stack, model: str, replicas: tuple[ReplicaPlan, ...]) -> ModelRoute:
    spec = stack.models[model]
    shares = []
    for revision, percent in spec.shares.items():
        mine = [replica for replica in replicas if (replica.model, replica.revision) == (model, revision)]
        shares.append(
            RevisionShare(
                revision=revision,
                percent=percent,
                replicas=tuple(replica.name for replica in mine),
                max_concurrency=sum(replica.max_concurrency for replica in mine),
            )
        )
    return ModelRoute(
        name=model,
        aliases=spec.aliases,
        revisions=tuple(shares),
        max_model_len=spec.revisions[spec.face].context,
    )


def _smoke(stack: Stack) -> Iterator[SmokePlan]:
    for model, spec in stack.models.items():
        if spec.prove.smoke:
            yield SmokePlan(model=model, prompts=spec.prove.smoke, timeout_s=spec.prove.timeout)


def _secrets(stack: Stack) -> Iterator[str]:
    """The name of every secret the stack uses."""
    for host in stack.hosts.values():
        if host.connection != "local" and host.connection.ssh.sudo_password is not None:
            yield host.connection.ssh.sudo_password
    for cluster in stack.clusters.values():
        if cluster.kubeconfig is not None:
            yield cluster.kubeconfig
    for model in stack.models.values():
        for revision in model.revisions.values():
            if revision.source.token is not None:
                yield revision.source.token
            yield from revision.secrets.values()
    if stack.gateway is not None:
        yield from (key.secret for key in stack.gateway.keys)
        if stack.gateway.tls is not None:
            yield from (stack.gateway.tls.certificate, stack.gateway.tls.key)


def _unbuilt(stack: Stack) -> Iterator[str]:
    """What can be planned but not applied yet."""
    for name, host in stack.hosts.items():
        if host.runtime == "docker":
            yield f"hosts.{name}.runtime: docker is planned but cannot be applied yet"
        if host.connection != "local":
            yield f"hosts.{name}.connection: ssh is planned but cannot be applied yet"
    for name, cluster in stack.clusters.items():
        yield f"clusters.{name}: {cluster.kind} is planned but cannot be applied yet"
