"""What a host has before anything is served from it: packages, the driver, Docker, the toolkit, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from berth.provider.resources.resource import Resource

if TYPE_CHECKING:  # a program of one part of a stack does not wait for the operations of all others
    from berth.provider.operations.cdi_specification import CdiSpecificationWant
    from berth.provider.operations.container_toolkit import ContainerToolkitWant
    from berth.provider.operations.docker_configuration import DockerConfigurationWant
    from berth.provider.operations.docker_engine import DockerEngineWant
    from berth.provider.operations.fabric_manager import FabricManagerWant
    from berth.provider.operations.limits import LimitsWant
    from berth.provider.operations.loaded_driver import LoadedDriverWant
    from berth.provider.operations.nvidia_driver import NvidiaDriverWant
    from berth.provider.operations.package_repository import PackageRepositoryWant
    from berth.provider.operations.packages import PackagesWant
    from berth.provider.operations.persistence_mode import PersistenceModeWant
    from berth.provider.operations.power_limit import PowerLimitWant
    from berth.provider.operations.sysctl import SysctlWant
    from berth.provider.operations.systemd_unit import SystemdUnitWant
    from berth.provider.operations.unattended_upgrades import UnattendedUpgradesWant
    from berth.provider.operations.user import UserWant


class DockerEngine(Resource["DockerEngineWant"]):
    """Docker, running; see `DockerEngineWant`."""

    kind = "berth:host:DockerEngine"


class DockerConfiguration(Resource["DockerConfigurationWant"]):
    """Settings of Docker's daemon; see `DockerConfigurationWant`."""

    kind = "berth:host:DockerConfiguration"


class ContainerToolkit(Resource["ContainerToolkitWant"]):
    """The configured container toolkit; see `ContainerToolkitWant`."""

    kind = "berth:host:ContainerToolkit"


class CdiSpecification(Resource["CdiSpecificationWant"]):
    """The CDI specification of the host's GPUs; see `CdiSpecificationWant`."""

    kind = "berth:host:CdiSpecification"


class NvidiaDriver(Resource["NvidiaDriverWant"]):
    """The NVIDIA driver on disk; see `NvidiaDriverWant`. `on_disk` is its version there."""

    kind = "berth:host:NvidiaDriver"
    on_disk: pulumi.Output[str]


class LoadedDriver(Resource["LoadedDriverWant"]):
    """The NVIDIA driver in the kernel; see `LoadedDriverWant`."""

    kind = "berth:host:LoadedDriver"


class PersistenceMode(Resource["PersistenceModeWant"]):
    """Persistence mode of a host's cards; see `PersistenceModeWant`."""

    kind = "berth:host:PersistenceMode"


class PowerLimit(Resource["PowerLimitWant"]):
    """Power limits of a host's cards; see `PowerLimitWant`."""

    kind = "berth:host:PowerLimit"


class FabricManager(Resource["FabricManagerWant"]):
    """The fabric manager of an NVSwitch machine; see `FabricManagerWant`."""

    kind = "berth:host:FabricManager"


class PackageRepository(Resource["PackageRepositoryWant"]):
    """A signed package repository; see `PackageRepositoryWant`."""

    kind = "berth:host:PackageRepository"


class Packages(Resource["PackagesWant"]):
    """Packages of the system's own; see `PackagesWant`."""

    kind = "berth:host:Packages"


class UnattendedUpgrades(Resource["UnattendedUpgradesWant"]):
    """What unattended upgrades leave alone; see `UnattendedUpgradesWant`."""

    kind = "berth:host:UnattendedUpgrades"


class Sysctl(Resource["SysctlWant"]):
    """Settings of the kernel; see `SysctlWant`."""

    kind = "berth:host:Sysctl"


class Limits(Resource["LimitsWant"]):
    """Limits of logins; see `LimitsWant`."""

    kind = "berth:host:Limits"


class SystemdUnit(Resource["SystemdUnitWant"]):
    """A unit of systemd; see `SystemdUnitWant`."""

    kind = "berth:host:SystemdUnit"


class User(Resource["UserWant"]):
    """An account and its groups; see `UserWant`."""

    kind = "berth:host:User"
