"""The proof of what is on a cluster: prompts and load for pods before they get traffic, then for the gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from berth.kubernetes.edge import About, address
from berth.kubernetes.gateway import configuration_digest
from berth.kubernetes.services import Service
from berth.planner.plan import ClusterPlan, GatewayPlan, Plan, revision_name
from berth.provider.operations.gateway_ready import GatewayReadyWant
from berth.provider.operations.load_test import LoadTestWant
from berth.provider.operations.smoke_test import SmokeTestWant
from berth.provider.resources.serving import GatewayReady, LoadTest, Serving, SmokeTest
from berth.provider.ways import Pods
from components.proof import Door, Proof, load_asked, named, several, smoke_asked


class ServiceProof(pulumi.ComponentResource):
    """What the pods of a service answer, asked one by one through the API server.

    `proved` is the last of the tests (the service's own start where nothing is asked), `results` what they measured.
    """

    def __init__(
        self,
        plan: Plan,
        service: Service,
        serving: Serving,
        about: Mapping[str, pulumi.Input[Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        name, model = f"{service.cluster.name}-{service.name}", service.replica.model
        super().__init__("berth:index:ServiceProof", f"{name}-proof", None, opts)
        where = {
            "host": service.cluster.name,
            "port": service.port,
            "pods": Pods(
                namespace=service.cluster.namespace,
                labels=service.pod_labels,
                specification=str(about.get("specification", "")),
            ),
        }
        self.proved: pulumi.Resource = serving
        self.results: dict[str, pulumi.Output[Mapping[str, Any]]] = {}
        shown = _shown(plan, service)
        smoke = [one for one in plan.smoke if one.model == model]
        if smoke and not service.pod.parked:
            opts = pulumi.ResourceOptions(parent=self, depends_on=[serving])
            asked = SmokeTestWant(**where, **smoke_asked(smoke))
            tested = SmokeTest(f"{name}-smoke", asked, opts, late={"after": dict(about)})
            self.results["smoke"] = named(shown, tested.results)
            self.proved = tested
        # Of a model with one revision the gateway is asked, as its clients will.
        by_gateway = plan.gateway is not None and model not in several(plan)
        for load in plan.load:
            if load.model == model and not by_gateway and not service.pod.parked:
                opts = pulumi.ResourceOptions(parent=self, depends_on=[self.proved])
                wanted = LoadTestWant(**where, models={model: load_asked(load)})
                loaded = LoadTest(f"{name}-load", wanted, opts, late={"after": dict(about)})
                self.results["load"] = named(shown, loaded.results)
                self.proved = loaded
        self.register_outputs({})


def _shown(plan: Plan, service: Service) -> str:
    """What results call a service: its model; the revision where there are several, the cluster where it is on more."""
    replica = service.replica
    alike = [one for one in (*plan.replicas, *plan.parked) if one.model == replica.model]
    revisions, places = ({getattr(one, key) for one in alike} for key in ("revision", "host"))
    name = revision_name(replica.model, replica.revision) if len(revisions) > 1 else replica.model
    return f"{name} on {replica.host}" if len(places) > 1 else name


class ClusterGateway(pulumi.ComponentResource):
    """A gateway on a cluster once its objects are there: it has its configuration, and answers as clients ask.

    `loaded` are the tests of revisions that were made before, by what clients call them. `given` is the host that a
    Route was given by the cluster. `results` are those of each test by its name, `outputs` what clients need to know.
    """

    def __init__(
        self,
        plan: Plan,
        door: GatewayPlan,
        cluster: ClusterPlan,
        services: Sequence[Service],
        objects: Sequence[pulumi.Resource],
        *,
        keys: Mapping[str, pulumi.Output[str]],
        about: Mapping[str, pulumi.Input[Any]],
        loaded: Mapping[str, pulumi.Output[Mapping[str, Any]]],
        given: pulumi.Output[str | None] | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("berth:index:ClusterGateway", f"{cluster.name}-gateway", None, opts)
        common = About(plan, cluster)
        pods = Pods(namespace=cluster.namespace, labels=common.selector)
        digest = configuration_digest(door, services)
        free = next((key.name for key in door.keys if key.free), None)
        key = keys[free] if free is not None else pulumi.Output.from_input("")
        want = GatewayReadyWant(host=cluster.name, port=door.port, pods=pods, configuration=digest)
        self.ready = GatewayReady(
            f"{cluster.name}-gateway-ready",
            want,
            pulumi.ResourceOptions(parent=self, depends_on=list(objects)),
            late={"key": key, "after": dict(about)},
        )
        proved = {"configuration": digest, **about}
        asked = Door(host=cluster.name, port=door.port, key=key, ready=self.ready, about=proved, pods=pods)
        opts = pulumi.ResourceOptions(parent=self)
        self.results = Proof("proof", plan, asked, opts, loaded=loaded).results
        inside = common.inside(door)
        url: pulumi.Input[str] = address(door) or inside
        if given is not None and not address(door):
            url = given.apply(lambda host: address(door, host) or inside)
        self.outputs: Mapping[str, Any] = {
            "url": url,
            "in_cluster_url": inside,
            "port_forward": common.forwarding(door),
            "models": [model.name for model in door.models],
            "keys": pulumi.Output.secret(dict(keys)),
        }
        self.register_outputs({})
