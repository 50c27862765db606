"""One machine of the plan, as the stack file says it."""

from __future__ import annotations

from berth.planner.plan import Card, DataConnectionPlan, HostPlan, Local, Ssh
from berth.planner.prerequisites import declared
from berth.spec.hosts import Host


def host_plan(name: str, host: Host, cards: tuple[Card, ...] = ()) -> HostPlan:
    """One machine of the plan; how it is reached is known before its cards are."""
    connection: Local | Ssh = Local()
    if host.connection != "local":
        connection = Ssh(**host.connection.ssh.model_dump())
    return HostPlan(
        name=name,
        connection=connection,
        runtime=host.runtime,
        root=host.root,
        init=host.init,
        cache=host.cache,
        cards=cards,
        connections={key: DataConnectionPlan(**one.model_dump()) for key, one in host.connections.items()},
        declares=declared(host.prerequisites),
    )
