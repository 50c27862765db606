"""The gateway as the plan says it: routes, shares of traffic, keys, and what is asked of it after a deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from berth.planner.notes import refusal
from berth.planner.plan import GatewayPlan, KeyPlan, LoadPlan, ModelRoute, Note, ReplicaPlan, RevisionShare, SmokePlan
from berth.spec.models import Model
from berth.spec.problems import nearest
from berth.spec.stack import Stack


def gateway(stack: Stack, replicas: Sequence[ReplicaPlan], notes: list[Note]) -> GatewayPlan | None:
    """The stack's gateway; None when it has none."""
    said = stack.gateway
    if said is None:
        return None
    notes += _misplaced(stack)
    return GatewayPlan(
        host=said.host,
        bind=said.bind,
        port=said.port,
        admin_port=said.admin_port or said.port + 1,
        metrics_port=said.metrics_port or said.port + 2,
        open=said.open,
        keys=tuple(KeyPlan(name=key.name, secret=key.secret) for key in said.keys)
        or (() if said.open else (KeyPlan(name="default"),)),
        models=tuple(_route(stack, model, replicas) for model in stack.models),
        max_body=said.max_body,
        idle_timeout_s=said.idle_timeout,
        hold_limit_s=said.hold_limit,
        url=said.url,
    )


def smoke(stack: Stack) -> Iterator[SmokePlan]:
    """What the proof asks of each model."""
    for model, spec in stack.models.items():
        if spec.prove.smoke and stack.gateway is not None:
            yield SmokePlan(model=model, prompts=spec.prove.smoke, timeout_s=spec.prove.timeout)


def load(stack: Stack) -> Iterator[LoadPlan]:
    """The load that the proof puts on each model that declares one."""
    for model, spec in stack.models.items():
        asked = spec.prove.load
        if asked is not None and stack.gateway is not None:
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
    if home not in stack.hosts:
        near = nearest(home, stack.hosts)
        hint = f"did you mean {near}?" if near else f"known hosts: {', '.join(stack.hosts) or 'none'}"
        yield refusal("gateway.host", f"is {home}, must be one of the stack's hosts; {hint}")
        return
    for model, spec in stack.models.items():
        for revision in spec.revisions.values():
            away = [host for place in revision.place for host in _hosts(stack, place.host, place.group) if host != home]
            if away:
                text = (
                    f"is {home}, must be {away[0]} where {model} runs: the way between two hosts is not encrypted yet; "
                    "give each host a stack of its own"
                )
                yield refusal("gateway.host", text)
                return


def _hosts(stack: Stack, host: str | None, group: str | None) -> tuple[str, ...]:
    return (host,) if host is not None else stack.group(group) if group is not None else ()


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
        mine = [replica for replica in replicas if (replica.model, replica.revision) == (model, revision)]
        share = RevisionShare(
            revision=revision,
            percent=percent,
            replicas=tuple(replica.name for replica in sorted(mine, key=lambda replica: replica.index)),
            max_concurrency=sum(replica.max_concurrency for replica in mine),
        )
        shares.append(share)
    return ModelRoute(
        name=model,
        aliases=(*spec.aliases, *_adapters(spec)),
        revisions=tuple(shares),
        max_model_len=spec.revisions[spec.face].context,
    )
