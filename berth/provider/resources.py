"""Typed resource classes for components: one for each operation, made from the operation's own model.

A resource takes its declaration as the operation's `Want`, and beside it, by name, the values that are known late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pulumi

if TYPE_CHECKING:  # a program of one part of a stack does not wait for the operations of all others
    from berth.provider.operation import Want
    from berth.provider.operations.adopted_replica import AdoptedReplicaWant
    from berth.provider.operations.cdi_specification import CdiSpecificationWant
    from berth.provider.operations.certificate import CertificateWant
    from berth.provider.operations.container_toolkit import ContainerToolkitWant
    from berth.provider.operations.directory import DirectoryWant
    from berth.provider.operations.docker_configuration import DockerConfigurationWant
    from berth.provider.operations.docker_engine import DockerEngineWant
    from berth.provider.operations.docker_image import DockerImageWant
    from berth.provider.operations.fabric_manager import FabricManagerWant
    from berth.provider.operations.file import FileWant
    from berth.provider.operations.gateway_configuration import GatewayConfigurationWant
    from berth.provider.operations.hub_model import HubModelWant
    from berth.provider.operations.key import KeyWant
    from berth.provider.operations.limits import LimitsWant
    from berth.provider.operations.load_test import LoadTestWant
    from berth.provider.operations.loaded_driver import LoadedDriverWant
    from berth.provider.operations.nvidia_driver import NvidiaDriverWant
    from berth.provider.operations.package_repository import PackageRepositoryWant
    from berth.provider.operations.packages import PackagesWant
    from berth.provider.operations.persistence_mode import PersistenceModeWant
    from berth.provider.operations.power_limit import PowerLimitWant
    from berth.provider.operations.process import ProcessWant
    from berth.provider.operations.python_environment import PythonEnvironmentWant
    from berth.provider.operations.ready import ReadyWant
    from berth.provider.operations.serving import ServingWant
    from berth.provider.operations.smoke_test import SmokeTestWant
    from berth.provider.operations.supervisor import SupervisorWant
    from berth.provider.operations.sysctl import SysctlWant
    from berth.provider.operations.systemd_unit import SystemdUnitWant
    from berth.provider.operations.unattended_upgrades import UnattendedUpgradesWant
    from berth.provider.operations.user import UserWant
    from berth.provider.operations.workspace import WorkspaceWant
    from berth.provider.replica import ReplicaWant

Late = Mapping[str, pulumi.Input[Any]]


class _Resource(pulumi.CustomResource):
    kind: ClassVar[str]
    outputs: ClassVar[Sequence[str]] = ()

    def __init__(
        self, name: str, want: Want, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        props = {**want.plain(), **(late or {}), **dict.fromkeys(self.outputs)}
        super().__init__(self.kind, name, props, opts)


class File(_Resource):
    """A file; see `FileWant`."""

    kind = "berth:host:File"

    def __init__(
        self, name: str, want: FileWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        content = (late or {}).get("content", want.content)
        known = {"content": pulumi.Output.secret(content)} if want.sensitive else {}
        super().__init__(name, want, opts, {**(late or {}), **known})


class Directory(_Resource):
    """A folder; see `DirectoryWant`."""

    kind = "berth:host:Directory"

    def __init__(self, name: str, want: DirectoryWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class Workspace(_Resource):
    """A stack's folder on a host; see `WorkspaceWant`."""

    kind = "berth:host:Workspace"

    def __init__(self, name: str, want: WorkspaceWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class PythonEnvironment(_Resource):
    """A Python environment; see `PythonEnvironmentWant`."""

    kind = "berth:host:PythonEnvironment"

    def __init__(self, name: str, want: PythonEnvironmentWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class HubModel(_Resource):
    """A model of the hub in the host's cache; see `HubModelWant`. `path` is the folder that an engine is given."""

    kind = "berth:model:HubModel"
    outputs = ("path", "commit")
    path: pulumi.Output[str]
    commit: pulumi.Output[str]

    def __init__(
        self, name: str, want: HubModelWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class DockerImage(_Resource):
    """A container image; see `DockerImageWant`. `content` is what containers are made of."""

    kind = "berth:docker:Image"
    outputs = ("content", "digest")
    content: pulumi.Output[str]
    digest: pulumi.Output[str]

    def __init__(self, name: str, want: DockerImageWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class Supervisor(_Resource):
    """A supervisord; see `SupervisorWant`."""

    kind = "berth:host:Supervisor"

    def __init__(self, name: str, want: SupervisorWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class Process(_Resource):
    """A long-running process; see `ProcessWant`."""

    kind = "berth:host:Process"

    def __init__(
        self, name: str, want: ProcessWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class Ready(_Resource):
    """Something that answers over HTTP; see `ReadyWant`."""

    kind = "berth:host:Ready"

    def __init__(
        self, name: str, want: ReadyWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class Replica(_Resource):
    """A running engine; see `ReplicaWant`. `pid` is its main process as of the last change."""

    kind = "berth:serving:Replica"
    outputs = ("pid",)
    pid: pulumi.Output[int]

    def __init__(
        self, name: str, want: ReplicaWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class Key(_Resource):
    """A generated API key; see `KeyWant`. `value` is a secret."""

    kind = "berth:gateway:Key"
    outputs = ("value",)
    value: pulumi.Output[str]

    def __init__(self, name: str, want: KeyWant, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(name, want, pulumi.ResourceOptions.merge(opts, secret))


class Certificate(_Resource):
    """The gateway's certificate; see `CertificateWant`. `expires` is the day on which it ends."""

    kind = "berth:gateway:Certificate"
    outputs = ("expires",)
    expires: pulumi.Output[str]

    def __init__(self, name: str, want: CertificateWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class GatewayConfiguration(_Resource):
    """The gateway's files; see `GatewayConfigurationWant`."""

    kind = "berth:gateway:Configuration"

    def __init__(
        self,
        name: str,
        want: GatewayConfigurationWant,
        opts: pulumi.ResourceOptions | None = None,
        late: Late | None = None,
    ) -> None:
        super().__init__(name, want, opts, late)


class SmokeTest(_Resource):
    """The proof that every model answers; see `SmokeTestWant`. `results` holds times and tokens by model."""

    kind = "berth:serving:SmokeTest"
    outputs = ("results",)
    results: pulumi.Output[Mapping[str, Any]]

    def __init__(
        self, name: str, want: SmokeTestWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class Serving(_Resource):
    """A service of a cluster that serves; see `ServingWant`."""

    kind = "berth:kubernetes:Serving"

    def __init__(
        self, name: str, want: ServingWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class LoadTest(_Resource):
    """The proof that every model bears its load; see `LoadTestWant`. `results` holds what was measured by model."""

    kind = "berth:serving:LoadTest"
    outputs = ("results",)
    results: pulumi.Output[Mapping[str, Any]]

    def __init__(
        self, name: str, want: LoadTestWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class DockerEngine(_Resource):
    """Docker, running; see `DockerEngineWant`."""

    kind = "berth:host:DockerEngine"

    def __init__(self, name: str, want: DockerEngineWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class DockerConfiguration(_Resource):
    """Settings of Docker's daemon; see `DockerConfigurationWant`."""

    kind = "berth:host:DockerConfiguration"

    def __init__(self, name: str, want: DockerConfigurationWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class ContainerToolkit(_Resource):
    """The configured container toolkit; see `ContainerToolkitWant`."""

    kind = "berth:host:ContainerToolkit"

    def __init__(self, name: str, want: ContainerToolkitWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class CdiSpecification(_Resource):
    """The CDI specification of the host's GPUs; see `CdiSpecificationWant`."""

    kind = "berth:host:CdiSpecification"

    def __init__(
        self,
        name: str,
        want: CdiSpecificationWant,
        opts: pulumi.ResourceOptions | None = None,
        late: Late | None = None,
    ) -> None:
        super().__init__(name, want, opts, late)


class NvidiaDriver(_Resource):
    """The NVIDIA driver on disk; see `NvidiaDriverWant`. `on_disk` is its version there."""

    kind = "berth:host:NvidiaDriver"
    outputs = ("on_disk",)
    on_disk: pulumi.Output[str]

    def __init__(self, name: str, want: NvidiaDriverWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class LoadedDriver(_Resource):
    """The NVIDIA driver in the kernel; see `LoadedDriverWant`."""

    kind = "berth:host:LoadedDriver"

    def __init__(
        self, name: str, want: LoadedDriverWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class PersistenceMode(_Resource):
    """Persistence mode of a host's cards; see `PersistenceModeWant`."""

    kind = "berth:host:PersistenceMode"

    def __init__(self, name: str, want: PersistenceModeWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class PowerLimit(_Resource):
    """Power limits of a host's cards; see `PowerLimitWant`."""

    kind = "berth:host:PowerLimit"

    def __init__(self, name: str, want: PowerLimitWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class FabricManager(_Resource):
    """The fabric manager of an NVSwitch machine; see `FabricManagerWant`."""

    kind = "berth:host:FabricManager"

    def __init__(
        self, name: str, want: FabricManagerWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        super().__init__(name, want, opts, late)


class PackageRepository(_Resource):
    """A signed package repository; see `PackageRepositoryWant`."""

    kind = "berth:host:PackageRepository"

    def __init__(self, name: str, want: PackageRepositoryWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class Packages(_Resource):
    """Packages of the system's own; see `PackagesWant`."""

    kind = "berth:host:Packages"

    def __init__(self, name: str, want: PackagesWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class UnattendedUpgrades(_Resource):
    """What unattended upgrades leave alone; see `UnattendedUpgradesWant`."""

    kind = "berth:host:UnattendedUpgrades"

    def __init__(self, name: str, want: UnattendedUpgradesWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class Sysctl(_Resource):
    """Settings of the kernel; see `SysctlWant`."""

    kind = "berth:host:Sysctl"

    def __init__(self, name: str, want: SysctlWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class Limits(_Resource):
    """Limits of logins; see `LimitsWant`."""

    kind = "berth:host:Limits"

    def __init__(self, name: str, want: LimitsWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class SystemdUnit(_Resource):
    """A unit of systemd; see `SystemdUnitWant`."""

    kind = "berth:host:SystemdUnit"

    def __init__(self, name: str, want: SystemdUnitWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class User(_Resource):
    """An account and its groups; see `UserWant`."""

    kind = "berth:host:User"

    def __init__(self, name: str, want: UserWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)


class AdoptedReplica(_Resource):
    """An engine that runs already; see `AdoptedReplicaWant`. `freed` is its port once it has been taken over."""

    kind = "berth:serving:AdoptedReplica"
    outputs = ("pid", "freed")
    pid: pulumi.Output[int]
    freed: pulumi.Output[int]

    def __init__(self, name: str, want: AdoptedReplicaWant, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, want, opts)
