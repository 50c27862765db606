"""One replica that ran before the stack knew of it: left as it is, served through the gateway."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from berth.planner.plan import GatewayPlan, ReplicaPlan
from berth.provider.operations.adopted_replica import AdoptedReplicaWant
from berth.provider.resources.serving import AdoptedReplica
from components.host import HostBase
from components.place import HostPlace
from components.traffic import traffic


class AdoptedServer(pulumi.ComponentResource):
    """An adopted replica of the plan on its host. `image` is the one that the stack file names, which is there."""

    def __init__(
        self,
        name: str,
        plan: ReplicaPlan,
        host: HostBase,
        gateway: GatewayPlan | None,
        opts: pulumi.ResourceOptions | None = None,
        *,
        earlier: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("berth:index:AdoptedServer", name, None, opts)
        self.plan = plan
        self.image = plan.adopted.image if plan.adopted is not None else ""
        needs = [*host.services, *host.runtime_ready, *earlier]
        opts = pulumi.ResourceOptions(parent=self, depends_on=needs)
        self.replica = adopted_replica(name, plan, host.place, gateway, opts)
        self.register_outputs({"port": plan.port})


def adopted_replica(
    name: str, plan: ReplicaPlan, place: HostPlace, gateway: GatewayPlan | None, opts: pulumi.ResourceOptions
) -> AdoptedReplica:
    """The running engine of a plan that has one, as a resource."""
    adopted = plan.adopted
    if adopted is None:
        raise ValueError(f"{plan.name} is not adopted")
    want = AdoptedReplicaWant(
        host=plan.host,
        name=plan.name,
        model=plan.model,
        engine=plan.engine.name,
        version=plan.engine.version,
        container=adopted.container,
        port=plan.port,
        says=dict(adopted.says),
        image=adopted.image,
        card_memory=adopted.card_memory,
        start_timeout_s=round(plan.start_timeout_s),
        stop_timeout_s=round(plan.stop_timeout_s),
        **traffic(plan, place, gateway),
        take=adopted.take,
        state="taken" if adopted.take else "running",
    )
    return AdoptedReplica(name, want, opts)
