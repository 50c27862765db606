"""The proof after a deployment: a smoke test of every model, then the load that the stack file declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from berth.planner.plan import LoadPlan, Plan, SmokePlan, revision_name
from berth.provider.operations.load_test import Asked, LoadTestWant
from berth.provider.operations.smoke_test import SmokeTestWant
from berth.provider.resources.serving import LoadTest, SmokeTest
from berth.provider.ways import Pods
from components.adopted_server import AdoptedServer
from components.inference_server import InferenceServer

Servers = Mapping[str, InferenceServer | AdoptedServer]


@dataclass(frozen=True, kw_only=True)
class Door:
    """A gateway as a proof asks it.

    `key` may ask everything (empty for an open one), `ready` says that it answers, `about` is whatever a change of
    which asks for a new proof. On a cluster `pods` are the gateway's.
    """

    host: str
    port: int
    key: pulumi.Input[str]
    ready: pulumi.Resource
    about: Mapping[str, pulumi.Input[Any]]
    pods: Pods | None = None


def loads(plan: Plan, servers: Servers) -> Mapping[str, LoadTest]:
    """A load test of each revision of a model that has several, by what clients call it.

    It asks the engine itself, of several replicas the first: the gateway gives a revision its share only afterwards.
    """
    asked = {one.model: one for one in plan.load if one.model in several(plan)}
    found = {}
    for server in servers.values():
        replica = server.plan
        if replica.model in asked and replica.index == 0:
            found[revision_name(replica.model, replica.revision)] = LoadTest(
                f"{replica.name}-load",
                LoadTestWant(
                    host=replica.host, port=replica.port, models={replica.model: load_asked(asked[replica.model])}
                ),
                pulumi.ResourceOptions(parent=server),
                late={"after": {"pid": server.replica.pid}},
            )
    return found


def several(plan: Plan) -> frozenset[str]:
    """The models with several revisions."""
    return frozenset(one.name for one in plan.gateway.models if len(one.revisions) > 1) if plan.gateway else frozenset()


class Proof(pulumi.ComponentResource):
    """Asks through the gateway as a client does. `results` are those of each test, by its name.

    `loaded` are the results of load tests that were made before, of revisions, by what clients call them.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        door: Door,
        opts: pulumi.ResourceOptions | None = None,
        *,
        loaded: Mapping[str, pulumi.Output[Mapping[str, Any]]],
    ) -> None:
        super().__init__("berth:index:Proof", name, None, opts)
        late = {"key": door.key, "after": dict(door.about)}
        smoke = SmokeTest(
            "smoke",
            SmokeTestWant(
                host=door.host,
                port=door.port,
                pods=door.pods,
                **smoke_asked(plan.smoke),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[door.ready]),
            late=late,
        )
        self.results: dict[str, pulumi.Output[Mapping[str, Any]]] = {"smoke": smoke.results}
        parts = [named(name, results) for name, results in loaded.items()]
        if asked := [one for one in plan.load if one.model not in several(plan)]:
            load = LoadTest(
                "load",
                LoadTestWant(
                    host=door.host,
                    port=door.port,
                    pods=door.pods,
                    models={one.model: load_asked(one) for one in asked},
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[smoke]),
                late=late,
            )
            parts.append(load.results)
        if parts:
            self.results["load"] = together(parts)
        self.register_outputs(dict(self.results))


Results = Mapping[str, Any] | None
"""None of a test that was never made: the program also takes down a stack whose last update failed before it."""


def named(name: str, results: pulumi.Output[Mapping[str, Any]]) -> pulumi.Output[Mapping[str, Any]]:
    """The results of a test of one engine, by what clients call its revision and not its model."""

    def renamed(found: Results) -> Mapping[str, Any]:
        return dict.fromkeys([name], *(found or {}).values())

    return results.apply(renamed)


def together(parts: Sequence[pulumi.Output[Mapping[str, Any]]]) -> pulumi.Output[Mapping[str, Any]]:
    """The results of several tests as those of one."""

    def joined(found: Sequence[Results]) -> Mapping[str, Any]:
        return {name: result for part in found for name, result in (part or {}).items()}

    return pulumi.Output.all(*parts).apply(joined)


def smoke_asked(plans: Sequence[SmokePlan]) -> dict[str, Any]:
    """What a smoke test asks, as its declaration has it."""
    return {
        "prompts": {one.model: list(one.prompts) for one in plans},
        "asks": {one.model: one.asks for one in plans if one.asks != "text"},
        "timeout_s": max((one.timeout_s for one in plans), default=60),
    }


def load_asked(plan: LoadPlan) -> Asked:
    """What a load test asks of one model, as its declaration has it."""
    return Asked(
        n=plan.n,
        c=plan.c,
        prompt=plan.prompt,
        max_tokens=plan.max_tokens,
        timeout_s=plan.timeout_s,
        within_s=plan.within_s,
        success=plan.success,
        ttft_ms=None if plan.ttft_s is None else plan.ttft_s * 1000,
        tokens_per_s=plan.tokens_per_s,
    )
