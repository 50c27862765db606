"""A whole stack: every part of the plan as resources, in their order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

from berth.facts import HostFacts
from berth.facts.cluster import ClusterFacts
from berth.planner.plan import GatewayPlan, Local, PathWeights, Plan
from components.adopted_server import AdoptedServer
from components.gateway import Gateway
from components.host import HostBase
from components.inference_server import InferenceServer
from components.monitoring import Monitoring
from components.observed import place_of
from components.prerequisites import HostPrerequisites, key_problems
from components.proof import Door, Proof, Servers, loads, together
from components.refusal import is_public


def problems(plan: Plan, project: Path, clusters: Mapping[str, ClusterFacts]) -> list[str]:
    """What is not here, or on clusters that answered, although the plan needs it: a line each."""
    config = pulumi.Config()
    if is_public(plan.stack, project):
        settings = f"Pulumi.{plan.stack}.yaml"
        must = f"set PULUMI_CONFIG_PASSPHRASE, remove encryptionsalt from {settings}, set the secrets again"
        return [f"stack {plan.stack}: its secrets have the dev stack's public passphrase, must have their own; {must}"]
    missing = [
        f"secret {name}: it has no value; set one with `pulumi config set --secret {name}`"
        for name in sorted(plan.secrets)
        if not config.get(name)
    ]
    gone = [
        f"models.{replica.model}.source.path: {replica.weights.path} is no folder with a config.json on this machine; "
        "give the folder of a model"
        for replica in plan.replicas
        if isinstance(replica.weights, PathWeights)
        and isinstance(plan.hosts[replica.host].connection, Local)
        and not (project / Path(replica.weights.path).expanduser() / "config.json").is_file()
    ]
    return [*missing, *gone, *key_problems(plan.hosts, project), *_on_clusters(plan, clusters)]


def _on_clusters(plan: Plan, clusters: Mapping[str, ClusterFacts]) -> list[str]:
    """What KServe would refuse, and what its cluster lacks; what the planner refuses may have no objects at all."""
    if not plan.clusters or plan.refusals:
        return []
    from components.cluster_problems import (  # noqa: PLC0415 - a tenth of a second that other stacks need not spend
        cluster_problems,
        object_problems,
    )

    return [*object_problems(plan, clusters), *cluster_problems(plan, clusters)]


def build(
    plan: Plan,
    project: Path,
    facts: Mapping[str, HostFacts],
    away: Collection[str] = frozenset(),
    clusters: Mapping[str, ClusterFacts] | None = None,
) -> Mapping[str, Any]:
    """Declares everything; returns the stack's outputs. Relative paths are relative to the project.

    What lies on a host without `facts` is left out: where its folders are is not known. Hosts that are `away` come
    last, since Pulumi begins nothing more after a failure: so they fail alone. A cluster that is not in `clusters` did
    not answer: a preview shows what it would get, an update leaves it out.
    """
    outputs: Mapping[str, Any] = {"models": sorted({replica.model for replica in plan.replicas})}
    outputs = {**outputs, **_clusters(plan, clusters or {})}
    before: list[pulumi.Resource] = []
    for names in ([name for name in facts if name not in away], [name for name in facts if name in away]):
        hosts = dict(_hosts(plan, project, {name: facts[name] for name in names}, list(before)))
        servers = dict(_servers(plan, hosts))
        for replica in plan.parked:
            if replica.host in hosts:
                InferenceServer(replica.name, replica, hosts[replica.host], None, parked=True)
        before += [*hosts.values(), *servers.values()]
        if plan.gateway is not None and plan.gateway.host in hosts:
            loaded = loads(plan, servers)
            ready = [*servers.values(), *loaded.values()]  # shares change only when all that may get some is proved
            gateway = Gateway("gateway", plan.gateway, hosts[plan.gateway.host], ready)
            found = {name: test.results for name, test in loaded.items()}
            proof = Proof("proof", plan, _door(gateway, servers), loaded=found)
            before += [gateway, proof]
            proved = [gateway.ready.id, *(server.replica.pid for server in servers.values())]
            outputs = {**_outputs(plan.gateway, gateway, proof), "revisions": revisions(plan, proved)}
        if plan.monitoring is not None and plan.monitoring.host in hosts and "url" in outputs:
            watched = Monitoring("monitoring", plan, plan.monitoring, hosts[plan.monitoring.host])
            before.append(watched)
            outputs = {**outputs, "monitoring": dict(watched.urls)}
        if starts := {name: host.start for name, host in hosts.items() if host.start}:
            outputs = {**outputs, "start": {**outputs.get("start", {}), **starts}}
    return outputs


def _clusters(plan: Plan, facts: Mapping[str, ClusterFacts]) -> Mapping[str, Any]:
    """Declares what is on clusters; returns the outputs, those of the gateway's cluster and what all have proved."""
    found: dict[str, Any] = {}
    results: dict[str, list[pulumi.Output[Mapping[str, Any]]]] = {}
    for name, cluster in plan.clusters.items():
        if name in facts or pulumi.runtime.is_dry_run():
            from components.cluster import ClusterServing  # noqa: PLC0415 -- the SDK is for stacks with clusters alone

            made = ClusterServing(plan, cluster, facts.get(name))
            if made.gateway is not None:
                found |= {**made.gateway.outputs, "revisions": revisions(plan, [made.gateway.ready.id])}
            for test, result in made.results.items():
                results.setdefault(test, []).append(result)
    return {**found, **{test: together(parts) for test, parts in results.items()}}


def _door(gateway: Gateway, servers: Servers) -> Door:
    about = {**gateway.proved, **{name: server.replica.pid for name, server in servers.items()}}
    return Door(host=gateway.plan.host, port=gateway.plan.port, key=gateway.key, ready=gateway.ready, about=about)


def _outputs(door: GatewayPlan, gateway: Gateway, proof: Proof) -> Mapping[str, Any]:
    return {
        **gateway.outputs,
        "models": [model.name for model in door.models],
        "keys": pulumi.Output.secret(dict(gateway.keys)),
        **proof.results,
    }


def revisions(plan: Plan, proved: Sequence[pulumi.Output[Any]]) -> pulumi.Output[Mapping[str, Any]]:
    """State and share of each revision, by model; known once all that is `proved` is."""
    found: dict[str, dict[str, Any]] = {}
    for model in plan.gateway.models if plan.gateway is not None else ():
        for share in model.revisions:
            about = {"percent": share.percent, "state": "online" if share.percent else "warm"}
            found.setdefault(model.name, {})[share.revision] = {
                **about,
                "representative": share.revision == model.representative,
            }
    for replica in plan.parked:
        said = {"percent": 0, "state": "parked", "representative": False}
        found.setdefault(replica.model, {})[replica.revision] = said
    return pulumi.Output.all(*proved).apply(lambda _: found)


def _servers(plan: Plan, hosts: Mapping[str, HostBase]) -> Iterator[tuple[str, InferenceServer | AdoptedServer]]:
    """The replicas in the plan's order of starts: on one card, each after the one before it.

    The lock of a card would keep them apart as well, but in any order.
    """
    asked = {smoke.model: smoke for smoke in plan.smoke}
    last: dict[tuple[str, int], pulumi.Resource] = {}
    for replica in plan.replicas:
        if replica.host in hosts:
            cards = [(replica.host, card) for card in replica.cards]
            earlier = [last[card] for card in cards if card in last]
            server: InferenceServer | AdoptedServer
            if replica.adopted is not None and not replica.adopted.take:
                server = AdoptedServer(replica.name, replica, hosts[replica.host], plan.gateway, earlier=earlier)
            else:
                server = InferenceServer(
                    replica.name,
                    replica,
                    hosts[replica.host],
                    plan.gateway,
                    earlier=earlier,
                    smoke=asked.get(replica.model),
                )
            last.update(dict.fromkeys(cards, server.replica))
            yield replica.name, server


def _hosts(
    plan: Plan, project: Path, facts: Mapping[str, HostFacts], before: Sequence[pulumi.Resource]
) -> Iterator[tuple[str, HostBase]]:
    """Makes hosts ready once all `before` are, and gives those on which something runs."""
    used = {replica.host for replica in plan.replicas} | ({plan.gateway.host} if plan.gateway is not None else set())
    for name, host in plan.hosts.items():
        if name not in facts:
            continue
        ready = None
        opts = pulumi.ResourceOptions(depends_on=list(before)) if before else None
        if host.prerequisites is not None:
            ready = HostPrerequisites(f"{name}-prerequisites", name, host.prerequisites, project, opts)
        if name in used:
            yield name, HostBase(name, place_of(host, plan.stack, project, facts[name]), opts, ready=ready)
