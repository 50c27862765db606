"""A plan as a JSON document for programs; `docs/plan.md` describes the keys, which only ever grow within a version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from berth.planner.plan import HostPlan, ModelRoute, Plan, ReplicaPlan, Ssh
from berth.planner.verdict import CardVerdict, ReplicaMemory
from berth.report.view import outcome, part_of, stops

VERSION = 1
"""Goes up when a key changes its meaning or goes away."""


def to_json(plan: Plan) -> str:
    """The plan as JSON; sizes are integers in bytes, times numbers in seconds, secrets appear by name only."""
    return json.dumps(document(plan), indent=2, ensure_ascii=False)


def to_json_list(plans: Sequence[Plan]) -> str:
    """Several plans as one JSON list of the same documents."""
    return json.dumps([document(plan) for plan in plans], indent=2, ensure_ascii=False)


def document(plan: Plan) -> dict[str, Any]:
    """The same as plain values, for a program in this language."""
    return {
        "version": VERSION,
        "stack": plan.stack,
        "profile": plan.profile,
        "verdict": outcome(plan).value,
        "applicable": not stops(plan) and not plan.unbuilt,
        "hosts": [_host(host, plan.cards) for host in plan.hosts.values()],
        "clusters": [
            {
                "name": cluster.name,
                "kind": cluster.kind,
                "namespace": cluster.namespace,
                "mode": cluster.mode,
                "cards": [_card(card) for card in plan.cards if card.host == cluster.name],
            }
            for cluster in plan.clusters.values()
        ],
        "replicas": [_replica(replica) for replica in plan.replicas],
        "gateway": _gateway(plan),
        "notes": [{"severity": note.severity.value, "where": note.where, "text": note.text} for note in plan.notes],
        "unbuilt": list(plan.unbuilt),
        "secrets": sorted(plan.secrets),
    }


def _host(host: HostPlan, cards: Sequence[CardVerdict]) -> dict[str, Any]:
    ssh = host.connection if isinstance(host.connection, Ssh) else None
    return {
        "name": host.name,
        "connection": {"ssh": {"host": ssh.host, "user": ssh.user, "port": ssh.port}} if ssh else "local",
        "runtime": host.runtime,
        "root": host.root,
        "declares": sorted(host.declares),
        "prerequisites": _prerequisites(host),
        "cards": [_card(card) for card in cards if card.host == host.name],
    }


def _prerequisites(host: HostPlan) -> dict[str, Any] | None:
    """What the host is made ready with; None where nothing is, or the machine was never seen."""
    made = host.prerequisites
    if made is None:
        return None
    driver = made.driver
    return {
        "manager": made.manager,
        "repositories": [{"name": one.name, "uri": one.uri} for one in made.repositories],
        "driver": {"wanted": driver.wanted, "flavour": driver.flavour, "packages": list(driver.packages)}
        if driver is not None
        else None,
        "docker": dict(made.docker.packages.packages) if made.docker is not None else None,
        "container_toolkit": dict(made.toolkit.packages.packages) if made.toolkit is not None else None,
        "sysctl": dict(made.sysctl),
        "limits": dict(made.limits),
        "users": {name: list(groups) for name, groups in made.users.items()},
        "on_destroy": made.on_destroy,
    }


def _card(card: CardVerdict) -> dict[str, Any]:
    return {
        "index": card.index,
        "model": card.model,
        "total": int(card.total),
        "free": int(card.free),
        "verdict": card.verdict.value,
        "uses": [{"name": name, "size": int(size)} for name, size in card.uses],
        "reasons": list(card.reasons),
        "suggestions": list(card.suggestions),
    }


def _replica(replica: ReplicaPlan) -> dict[str, Any]:
    return {
        "name": replica.name,
        "model": replica.model,
        "revision": replica.revision,
        "index": replica.index,
        "host": replica.host,
        "cards": list(replica.cards),
        "port": replica.port,
        "engine": {
            "name": replica.engine.name,
            "version": replica.engine.version,
            "device": replica.engine.device,
        },
        "served_names": list(replica.served_names),
        "arguments": {
            name: value if value is None or isinstance(value, str | int | float) else list(value)
            for name, value in replica.arguments.items()
        },
        "on_change": replica.on_change,
        "start_order": replica.start_order,
        "max_concurrency": replica.max_concurrency,
        "memory": _memory(replica.memory) if replica.memory else None,
    }


def _memory(memory: ReplicaMemory) -> dict[str, Any]:
    return {
        "terms": [
            {"name": term.name, "part": part_of(term.name).value, "size": int(term.size), "source": term.source}
            for term in memory.terms
        ],
        "used": int(memory.used),
        "budget": int(memory.budget),
        "available_kv": int(memory.available_kv),
        "kv_tokens": memory.kv_tokens,
        "max_concurrency": memory.max_concurrency,
        "share": memory.share,
        "smallest_share": memory.smallest_share,
        "verdict": memory.verdict.value,
        "reasons": list(memory.reasons),
        "suggestions": list(memory.suggestions),
    }


def _gateway(plan: Plan) -> dict[str, Any] | None:
    if plan.gateway is None:
        return None
    return {
        "host": plan.gateway.host,
        "bind": plan.gateway.bind,
        "port": plan.gateway.port,
        "open": plan.gateway.open,
        "keys": [key.name for key in plan.gateway.keys],
        "models": [_model(model) for model in plan.gateway.models],
    }


def _model(model: ModelRoute) -> dict[str, Any]:
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "max_model_len": model.max_model_len,
        "revisions": [
            {"revision": share.revision, "percent": share.percent, "replicas": list(share.replicas)}
            for share in model.revisions
        ],
    }
