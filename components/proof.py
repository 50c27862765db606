"""The proof after a deployment: a smoke test of every model, then the load that the stack file declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from berth.planner.plan import LoadPlan, Plan, revision_name
from berth.provider.operations.load_test import Asked, LoadTestWant
from berth.provider.operations.smoke_test import SmokeTestWant
from berth.provider.resources.serving import LoadTest, SmokeTest
from components.adopted_server import AdoptedServer
from components.gateway import Gateway
from components.inference_server import InferenceServer

Servers = Mapping[str, InferenceServer | AdoptedServer]


def loads(plan: Plan, servers: Servers) -> Mapping[str, LoadTest]:
    """A load test of each revision of a model that has several, by what clients call it.

    It asks the engine itself, of several replicas the first: the gateway gives a revision its share only afterwards.
    """
    several = _several(plan)
    asked = {one.model: one for one in plan.load if one.model in several}
    found = {}
    for server in servers.values():
        replica = server.plan
        if replica.model in asked and replica.index == 0:
            found[revision_name(replica.model, replica.revision)] = LoadTest(
                f"{replica.name}-load",
                LoadTestWant(
                    host=replica.host, port=replica.port, models={replica.model: _asked(asked[replica.model])}
                ),
                pulumi.ResourceOptions(parent=server),
                late={"after": {"pid": server.replica.pid}},
            )
    return found


def _several(plan: Plan) -> frozenset[str]:
    """The models with several revisions."""
    return frozenset(one.name for one in plan.gateway.models if len(one.revisions) > 1) if plan.gateway else frozenset()


class Proof(pulumi.ComponentResource):
    """Asks through the gateway as a client does. `results` are those of each test, by its name.

    `loaded` are the load tests that were made before, of revisions.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        gateway: Gateway,
        servers: Servers,
        opts: pulumi.ResourceOptions | None = None,
        *,
        loaded: Mapping[str, LoadTest],
    ) -> None:
        super().__init__("berth:index:Proof", name, None, opts)
        door = gateway.plan
        late = {
            "key": gateway.key,
            "after": {**gateway.proved, **{name: server.replica.pid for name, server in servers.items()}},
        }
        smoke = SmokeTest(
            "smoke",
            SmokeTestWant(
                host=door.host,
                port=door.port,
                prompts={smoke.model: list(smoke.prompts) for smoke in plan.smoke},
                asks={smoke.model: smoke.asks for smoke in plan.smoke if smoke.asks != "text"},
                timeout_s=max((smoke.timeout_s for smoke in plan.smoke), default=60),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[gateway.ready]),
            late=late,
        )
        self.results: dict[str, pulumi.Output[Mapping[str, Any]]] = {"smoke": smoke.results}
        parts = [_named(name, test.results) for name, test in loaded.items()]
        several = _several(plan)
        if asked := [one for one in plan.load if one.model not in several]:
            load = LoadTest(
                "load",
                LoadTestWant(host=door.host, port=door.port, models={one.model: _asked(one) for one in asked}),
                pulumi.ResourceOptions(parent=self, depends_on=[smoke]),
                late=late,
            )
            parts.append(load.results)
        if parts:
            self.results["load"] = pulumi.Output.all(*parts).apply(_together)
        self.register_outputs(dict(self.results))


Results = Mapping[str, Any] | None
"""None of a test that was never made: the program also takes down a stack whose last update failed before it."""


def _named(name: str, results: pulumi.Output[Mapping[str, Any]]) -> pulumi.Output[Mapping[str, Any]]:
    """The results of a test of one engine, by what clients call its revision and not its model."""

    def named(found: Results) -> Mapping[str, Any]:
        return dict.fromkeys([name], *(found or {}).values())

    return results.apply(named)


def _together(parts: Sequence[Results]) -> Mapping[str, Any]:
    return {name: result for part in parts for name, result in (part or {}).items()}


def _asked(plan: LoadPlan) -> Asked:
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
