"""All operations, by the Pulumi type of their resources; each is imported when it is asked for first.

A preview of one part of a stack then does not wait for the operations of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

from berth.provider.operation import Operation

_MODULES: Final = {
    "berth:serving:AdoptedReplica": "adopted_replica",
    "berth:model:BucketModel": "bucket_model",
    "berth:host:CdiSpecification": "cdi_specification",
    "berth:gateway:Certificate": "certificate",
    "berth:host:ContainerToolkit": "container_toolkit",
    "berth:host:Directory": "directory",
    "berth:host:DockerConfiguration": "docker_configuration",
    "berth:host:DockerEngine": "docker_engine",
    "berth:docker:Image": "docker_image",
    "berth:host:FabricManager": "fabric_manager",
    "berth:host:File": "file",
    "berth:gateway:Configuration": "gateway_configuration",
    "berth:model:HubModel": "hub_model",
    "berth:kubernetes:GatewayReady": "gateway_ready",
    "berth:gateway:Key": "key",
    "berth:host:Limits": "limits",
    "berth:serving:LoadTest": "load_test",
    "berth:host:LoadedDriver": "loaded_driver",
    "berth:host:NvidiaDriver": "nvidia_driver",
    "berth:host:PackageRepository": "package_repository",
    "berth:host:Packages": "packages",
    "berth:host:PersistenceMode": "persistence_mode",
    "berth:host:PowerLimit": "power_limit",
    "berth:host:Process": "process",
    "berth:host:PythonEnvironment": "python_environment",
    "berth:host:Ready": "ready",
    "berth:serving:Replica": "replica",
    "berth:kubernetes:Serving": "serving",
    "berth:kubernetes:Takeover": "takeover",
    "berth:serving:SmokeTest": "smoke_test",
    "berth:host:Supervisor": "supervisor",
    "berth:host:Sysctl": "sysctl",
    "berth:host:SystemdUnit": "systemd_unit",
    "berth:host:UnattendedUpgrades": "unattended_upgrades",
    "berth:host:User": "user",
    "berth:host:Workspace": "workspace",
}
"""The module of each in `operations/`; its class is named as the module is."""


class _Operations(Mapping[str, Operation[Any]]):
    def __init__(self) -> None:
        self._made: dict[str, Operation[Any]] = {}

    def __getitem__(self, kind: str) -> Operation[Any]:
        if kind not in self._made:
            module = _MODULES[kind]
            name = module.title().replace("_", "")
            self._made[kind] = getattr(import_module(f"berth.provider.operations.{module}"), name)()
        return self._made[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


OPERATIONS: Final = _Operations()
