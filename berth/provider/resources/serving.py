"""What serves and what proves it: engines, the gateway, services of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi

from berth.provider.resources.resource import Resource

if TYPE_CHECKING:  # a program of one part of a stack does not wait for the operations of all others
    from berth.provider.operations.adopted_replica import AdoptedReplicaWant
    from berth.provider.operations.certificate import CertificateWant
    from berth.provider.operations.gateway_configuration import GatewayConfigurationWant
    from berth.provider.operations.gateway_ready import GatewayReadyWant
    from berth.provider.operations.key import KeyWant
    from berth.provider.operations.load_test import LoadTestWant
    from berth.provider.operations.serving import ServingWant
    from berth.provider.operations.smoke_test import SmokeTestWant
    from berth.provider.operations.takeover import TakeoverWant
    from berth.provider.replica import ReplicaWant


class Replica(Resource["ReplicaWant"]):
    """A running engine; see `ReplicaWant`. `pid` is its main process as of the last change."""

    kind = "berth:serving:Replica"
    pid: pulumi.Output[int]


class AdoptedReplica(Resource["AdoptedReplicaWant"]):
    """An engine that runs already; see `AdoptedReplicaWant`. `freed` is its port once it has been taken over."""

    kind = "berth:serving:AdoptedReplica"
    pid: pulumi.Output[int]
    freed: pulumi.Output[int]


class Key(Resource["KeyWant"]):
    """A generated API key; see `KeyWant`. `value` is a secret."""

    kind = "berth:gateway:Key"
    value: pulumi.Output[str]

    def __init__(self, name: str, want: KeyWant, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(name, want, pulumi.ResourceOptions.merge(opts, secret))


class Certificate(Resource["CertificateWant"]):
    """The gateway's certificate; see `CertificateWant`. `expires` is the day on which it ends."""

    kind = "berth:gateway:Certificate"
    expires: pulumi.Output[str]


class GatewayConfiguration(Resource["GatewayConfigurationWant"]):
    """The gateway's files; see `GatewayConfigurationWant`."""

    kind = "berth:gateway:Configuration"


class Serving(Resource["ServingWant"]):
    """A service of a cluster that serves; see `ServingWant`."""

    kind = "berth:kubernetes:Serving"


class GatewayReady(Resource["GatewayReadyWant"]):
    """A gateway on a cluster that is as declared; see `GatewayReadyWant`."""

    kind = "berth:kubernetes:GatewayReady"


class Takeover(Resource["TakeoverWant"]):
    """Objects of others on a cluster that become the stack's; see `TakeoverWant`."""

    kind = "berth:kubernetes:Takeover"


class SmokeTest(Resource["SmokeTestWant"]):
    """The proof that every model answers; see `SmokeTestWant`. `results` holds times and tokens by model."""

    kind = "berth:serving:SmokeTest"
    results: pulumi.Output[Mapping[str, Any]]


class LoadTest(Resource["LoadTestWant"]):
    """The proof that every model bears its load; see `LoadTestWant`. `results` holds what was measured by model."""

    kind = "berth:serving:LoadTest"
    results: pulumi.Output[Mapping[str, Any]]
