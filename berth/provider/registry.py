"""All operations, by the Pulumi type of their resources."""

from __future__ import annotations

from typing import Any

from berth.provider.operation import Operation
from berth.provider.operations.cdi_specification import CdiSpecification
from berth.provider.operations.certificate import Certificate
from berth.provider.operations.container_toolkit import ContainerToolkit
from berth.provider.operations.directory import Directory
from berth.provider.operations.docker_configuration import DockerConfiguration
from berth.provider.operations.docker_engine import DockerEngine
from berth.provider.operations.docker_image import DockerImage
from berth.provider.operations.fabric_manager import FabricManager
from berth.provider.operations.file import File
from berth.provider.operations.gateway_configuration import GatewayConfiguration
from berth.provider.operations.hub_model import HubModel
from berth.provider.operations.key import Key
from berth.provider.operations.limits import Limits
from berth.provider.operations.load_test import LoadTest
from berth.provider.operations.loaded_driver import LoadedDriver
from berth.provider.operations.nvidia_driver import NvidiaDriver
from berth.provider.operations.package_repository import PackageRepository
from berth.provider.operations.packages import Packages
from berth.provider.operations.persistence_mode import PersistenceMode
from berth.provider.operations.power_limit import PowerLimit
from berth.provider.operations.process import Process
from berth.provider.operations.python_environment import PythonEnvironment
from berth.provider.operations.ready import Ready
from berth.provider.operations.replica import Replica
from berth.provider.operations.smoke_test import SmokeTest
from berth.provider.operations.supervisor import Supervisor
from berth.provider.operations.sysctl import Sysctl
from berth.provider.operations.systemd_unit import SystemdUnit
from berth.provider.operations.unattended_upgrades import UnattendedUpgrades
from berth.provider.operations.user import User
from berth.provider.operations.workspace import Workspace

_ALL: tuple[Operation[Any], ...] = (
    CdiSpecification(),
    Certificate(),
    ContainerToolkit(),
    Directory(),
    DockerConfiguration(),
    DockerEngine(),
    DockerImage(),
    FabricManager(),
    File(),
    GatewayConfiguration(),
    HubModel(),
    Key(),
    Limits(),
    LoadTest(),
    LoadedDriver(),
    NvidiaDriver(),
    PackageRepository(),
    Packages(),
    PersistenceMode(),
    PowerLimit(),
    Process(),
    PythonEnvironment(),
    Ready(),
    Replica(),
    SmokeTest(),
    Supervisor(),
    Sysctl(),
    SystemdUnit(),
    UnattendedUpgrades(),
    User(),
    Workspace(),
)

OPERATIONS = {operation.kind: operation for operation in _ALL}
