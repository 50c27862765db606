"""The gateway as the plan says it: routes, shares of traffic, keys, and what is asked of it after a deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from berth.planner.notes import refusal, warning
from berth.planner.on_cluster import check_door, edge_of
from berth.planner.plan import (
    ENVOY_IMAGE,
    GatewayPlan,
    KeyPlan,
    LoadPlan,
    ModelRoute,
    Note,
    ReplicaPlan,
    RevisionShare,
    SmokePlan,
    TlsPlan,
)
from berth.spec.gateway import Gateway, Key, Limits
from berth.spec.hosts import Place
from berth.spec.models import Model, Revision
from berth.spec.problems import nearest
from berth.spec.stack import Stack

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_OWN_PATHS = frozenset({"v1", "m", "health"})


def gateway(stack: Stack, replicas: Sequence[ReplicaPlan], notes: list[Note]) -> GatewayPlan | None:
    """The stack's gateway; None when it has none."""
    said = stack.gateway
    if said is None:
        return None
    exposed = check_door(stack, said) if said.host in stack.clusters else _exposed(said)
    notes += [*_misplaced(stack), *exposed, *_prefixes(stack), *_budgets(said)]
    return GatewayPlan(
        host=said.host,
        bind="0.0.0.0" if said.host in stack.clusters else said.bind,  # noqa: S104 - a pod's own address
        port=said.port,
        admin_port=said.admin_port or said.port + 1,
        metrics_port=said.metrics_port or said.port + 2,
        open=said.open,
        keys=_keys(stack, said),
        models=tuple(_route(stack, model, replicas) for model in stack.models),
        max_body=said.max_body,
        idle_timeout_s=said.idle_timeout,
        hold_limit_s=said.hold_limit,
        url=said.url,
        tls=_tls(stack, said),
        image=said.image or ENVOY_IMAGE,
        edge=edge_of(stack),
    )


def smoke(stack: Stack) -> Iterator[SmokePlan]:
    """What the proof asks of each model."""
    for model, spec in stack.models.items():
        if spec.prove.smoke and _answers(stack, spec):
            asks = _asks(spec.revisions[spec.face])
            yield SmokePlan(model=model, prompts=spec.prove.smoke, timeout_s=spec.prove.timeout, asks=asks)


def _answers(stack: Stack, model: Model) -> bool:
    """Whether a proof reaches a model: through the gateway, or its pods through their cluster."""
    on_cluster = any(place.cluster is not None for one in model.revisions.values() for place in one.place)
    return stack.gateway is not None or on_cluster


def _asks(revision: Revision) -> Literal["text", "image", "embedding", "score", "list"]:
    """What a model of this task answers; the rest has no path through the gateway that a prompt could take."""
    if revision.task == "generate":
        return "image" if revision.images_per_prompt else "text"
    return {"embed": "embedding", "score": "score"}.get(revision.task, "list")  # type: ignore[return-value] # literals


def load(stack: Stack) -> Iterator[LoadPlan]:
    """The load that the proof puts on each model that declares one."""
    for model, spec in stack.models.items():
        asked = spec.prove.load
        if asked is not None and _answers(stack, spec):
            yield LoadPlan(
                model=model,
                n=asked.n,
                c=asked.c,
                prompt=asked.prompt,
                max_tokens=asked.max_tokens,
                timeout_s=spec.prove.timeout,
                within_s=asked.within,
                success=asked.success,
                ttft_s=asked.ttft,
                tokens_per_s=asked.tokens_per_second,
            )


def _misplaced(stack: Stack) -> Iterator[Note]:
    """A gateway on no host, or on another than engines: the way between them would not be encrypted."""
    if stack.gateway is None:
        return
    home = stack.gateway.host
    known = [*stack.hosts, *stack.clusters]
    if home not in known:
        near = nearest(home, known)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(known) or 'none'}"
        yield refusal("gateway.host", f"is {home}, must be one of the stack's hosts or clusters; {hint}")
        return
    for model, spec in stack.models.items():
        for revision in spec.revisions.values():
            away = [host for place in revision.place for host in _hosts(stack, place) if host != home]
            if away:
                text = (
                    f"is {home}, must be {away[0]} where {model} runs: the way between two hosts is not encrypted yet; "
                    "give each host a stack of its own"
                )
                yield refusal("gateway.host", text)
                return


def _exposed(said: Gateway) -> Iterator[Note]:
    """A door that others than this host reach without encryption: only on purpose."""
    if said.bind in _LOOPBACK or said.tls is not None or (said.url or "").startswith("https://"):
        return
    if said.plain:
        text = f"is true and bind is {said.bind}: keys and prompts can be read on the way; only for a network you trust"
        yield warning("gateway.plain", text)
        return
    text = (
        f"is {said.bind} without tls, must be 127.0.0.1: keys and prompts could be read on the way; give "
        "tls: {self_signed: true} or a certificate, or say plain: true where you trust the network"
    )
    yield refusal("gateway.bind", text)


def _prefixes(stack: Stack) -> Iterator[Note]:
    """Path prefixes that would take requests from another model or from the gateway's own paths."""
    taken: dict[str, str] = {}
    for model, spec in stack.models.items():
        prefix = spec.path_prefix
        if prefix is None:
            continue
        where = f"models.{model}.path_prefix"
        if prefix.split("/")[1] in _OWN_PATHS:
            yield refusal(where, f"is {prefix}, which is the gateway's own; choose another, such as /{model}/")
        for other, owner in taken.items():
            if prefix.startswith(other) or other.startswith(prefix):
                text = f"is {prefix}, must not overlap with {other} of {owner}; choose another, such as /{model}/"
                yield refusal(where, text)
        taken[prefix] = model


def _budgets(said: Gateway) -> Iterator[Note]:
    """A limit that is larger than another that always comes first."""
    for number, key in enumerate(said.keys):
        limits = _merged(said.limits, key.limits)
        if limits.concurrent and limits.requests_per_minute and limits.concurrent > limits.requests_per_minute:
            where = f"gateway.keys[{number}].limits"
            text = (
                f"allows {limits.concurrent} requests at a time and {limits.requests_per_minute} in a minute: "
                "the first is never reached"
            )
            yield warning(where, text)


def _keys(stack: Stack, said: Gateway) -> tuple[KeyPlan, ...]:
    """The clients with their rights and limits; one named `default` when the file names none.

    Where no client may ask everything, the proof after a deployment gets a generated key of its own.
    """
    if said.open:
        return ()
    keys = [_key(key.name, key.secret, _models(stack, key), _merged(said.limits, key.limits)) for key in said.keys]
    keys = keys or [_key("default", None, (), _merged(said.limits, None))]
    if not any(key.free for key in keys):
        keys.append(KeyPlan(name="proof" if "proof" not in {key.name for key in keys} else "berth-proof"))
    return tuple(keys)


def _key(name: str, secret: str | None, models: tuple[str, ...], limits: Limits) -> KeyPlan:
    return KeyPlan(
        name=name,
        secret=secret,
        models=models,
        requests_per_minute=limits.requests_per_minute,
        concurrent=limits.concurrent,
    )


def _merged(common: Limits | None, own: Limits | None) -> Limits:
    """What a client's own limits leave open is as the gateway's."""
    parts = [limits.model_dump(exclude_none=True) for limits in (common, own) if limits is not None]
    return Limits(**{name: value for part in parts for name, value in part.items()})


def _models(stack: Stack, key: Key) -> tuple[str, ...]:
    """The own names of the models that a key's list names, by whichever of their names."""
    return tuple(
        model for model, spec in stack.models.items() if {model, *spec.aliases, *_adapters(spec)} & set(key.models)
    )


def _tls(stack: Stack, said: Gateway) -> TlsPlan | None:
    """The certificate's files, or the names that a self-signed one is for."""
    if said.tls is None:
        return None
    if not said.tls.self_signed:
        return TlsPlan(names=(), certificate=said.tls.certificate, key=said.tls.key)
    host = stack.hosts.get(said.host)
    address = host.connection.ssh.host if host is not None and host.connection != "local" else None
    bound = None if said.bind in {"0.0.0.0", "::"} else said.bind  # noqa: S104 - recognised, not bound
    names = (*said.tls.names, address, bound, "localhost", "127.0.0.1")
    return TlsPlan(names=tuple(dict.fromkeys(name for name in names if name)))


def _hosts(stack: Stack, place: Place) -> tuple[str, ...]:
    one = place.host or place.cluster
    return (one,) if one is not None else stack.group(place.group or "")


def _adapters(spec: Model) -> Iterator[str]:
    """Names of LoRA adapters, which clients ask for as for models."""
    names = (
        adapter.name
        for revision in spec.revisions.values()
        if revision.lora is not None
        for adapter in revision.lora.adapters
    )
    yield from dict.fromkeys(names)


def _route(stack: Stack, model: str, replicas: Sequence[ReplicaPlan]) -> ModelRoute:
    spec = stack.models[model]
    shares = []
    for revision, percent in spec.shares.items():
        if revision in spec.parked:  # nobody is there to be asked
            continue
        mine = [replica for replica in replicas if (replica.model, replica.revision) == (model, revision)]
        share = RevisionShare(
            revision=revision,
            percent=percent,
            replicas=tuple(replica.name for replica in sorted(mine, key=lambda replica: replica.index)),
            max_concurrency=sum(replica.max_concurrency for replica in mine),
            max_model_len=spec.revisions[revision].context,
        )
        shares.append(share)
    return ModelRoute(
        name=model,
        aliases=(*spec.aliases, *_adapters(spec)),
        revisions=tuple(shares),
        max_model_len=spec.revisions[spec.face].context,
        representative=spec.face,
        path_prefix=spec.path_prefix,
    )
