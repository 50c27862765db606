"""The OpenAI-compatible door of a stack: Envoy, its files, its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from berth import gateway as envoy
from berth.gateway.xds import digest
from berth.planner.plan import GatewayPlan, PackagedEngine
from berth.provider.operations.gateway_configuration import GatewayConfigurationWant
from berth.provider.operations.key import KeyWant
from berth.provider.operations.process import ProcessWant
from berth.provider.operations.ready import ReadyWant
from berth.provider.resources import GatewayConfiguration, Key, Process, Ready
from components.host import HostBase

_ENVOY = PackagedEngine(requirements=(envoy.ENVOY_REQUIREMENT,))


class Gateway(pulumi.ComponentResource):
    """The gateway of the plan on its host.

    `keys` are values by client, `ready` the proof that it answers, `proved` digests of what a proof of it is about.
    """

    keys: Mapping[str, pulumi.Output[str]]
    ready: Ready
    proved: Mapping[str, str]

    def __init__(
        self,
        name: str,
        plan: GatewayPlan,
        host: HostBase,
        servers: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("berth:index:Gateway", name, None, opts)
        place = host.place
        folder = f"{place.workspace}/gateway"
        environment = host.environment(_ENVOY)
        binary = envoy.envoy_path(place.environment_path(_ENVOY))
        self.plan = plan
        self.keys = {} if plan.open else self._keys(plan)
        bootstrap, listeners = envoy.bootstrap(plan, folder), envoy.listeners(plan, folder)
        clusters, routes = envoy.clusters(plan, folder), envoy.routes(plan)
        self.configuration = GatewayConfiguration(
            f"{name}-configuration",
            GatewayConfigurationWant(
                host=plan.host,
                folder=folder,
                envoy=binary,
                admin_port=plan.admin_port,
                bootstrap=bootstrap,
                listeners=listeners,
                clusters=clusters,
                routes=routes,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[environment, *servers]),
            late={"keys": dict(self.keys)},
        )
        fixed = digest([bootstrap, listeners])
        self.proved = {"fixed": fixed, "routes": digest([routes, clusters])}
        paths = place.service_paths(name)
        process = Process(
            f"{name}-envoy",
            ProcessWant(
                host=plan.host,
                **place.supervision,
                **paths,
                name=name,
                argv=envoy.command(binary, folder),
                # Envoy reads its bootstrap at the start only, and cannot bind a listener's port twice: another one of
                # either is another environment, and so a restart.
                environment={"BERTH_FIXED": fixed},
                working_directory=folder,
                ports=[plan.port, plan.admin_port, plan.metrics_port],
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[*host.services, self.configuration]),
        )
        self.ready = Ready(
            f"{name}-ready",
            ReadyWant(host=plan.host, name=name, port=plan.port, path="/health", after=self.proved, **paths),
            pulumi.ResourceOptions(parent=self, depends_on=[process]),
        )
        self.register_outputs({"port": plan.port})

    def _keys(self, plan: GatewayPlan) -> Mapping[str, pulumi.Output[str]]:
        """The value of each client's key: from Pulumi's configuration, or generated."""
        config = pulumi.Config()
        return {
            key.name: config.require_secret(key.secret)
            if key.secret
            else Key(
                f"key-{key.name}", KeyWant(host=plan.host, name=key.name), pulumi.ResourceOptions(parent=self)
            ).value
            for key in plan.keys
        }
