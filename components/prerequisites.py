"""What one host is made ready with, in the order in which it works: repositories, packages, driver, Docker, GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

from berth.planner.plan import HostPlan
from berth.planner.plan.prerequisites import (
    DockerPlan,
    DriverPlan,
    PackagesPlan,
    PrerequisitesPlan,
    RepositoryPlan,
    ToolkitPlan,
)
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
from berth.provider.operations.unattended_upgrades import UnattendedUpgradesWant
from berth.provider.operations.user import UserWant
from berth.provider.packaging.openpgp import UntrustedKey, only
from berth.provider.resources.prerequisites import (
    CdiSpecification,
    ContainerToolkit,
    DockerConfiguration,
    DockerEngine,
    FabricManager,
    Limits,
    LoadedDriver,
    NvidiaDriver,
    PackageRepository,
    Packages,
    PersistenceMode,
    PowerLimit,
    Sysctl,
    UnattendedUpgrades,
    User,
)
from berth.provider.resources.resource import Late

_FILES = "prerequisites"
"""The name of the files in sysctl.d and limits.d."""


def key_problems(hosts: Mapping[str, HostPlan], project: Path) -> Iterator[str]:
    """Keys of repositories that are not in the project, or are others than those that are meant, a line each."""
    for name, host in hosts.items():
        for repository in host.prerequisites.repositories if host.prerequisites is not None else ():
            if repository.key_file is None:
                continue
            where = f"hosts.{name}.prerequisites.repositories.{repository.owner}.key: {repository.key_file}"
            try:
                only((project / repository.key_file).read_bytes(), repository.fingerprint)
            except OSError:
                yield f"{where} is no file of this project, must be the repository's public key"
            except UntrustedKey as problem:
                yield f"{where} {problem}; compare with what the publisher says"


class HostPrerequisites(pulumi.ComponentResource):
    """What is declared of one host: who runs containers waits for `runtime_ready`, who uses GPUs for `gpus_ready`.

    The package manager works on one thing at a time, and a reboot must meet nothing half done: hence more order than
    the things themselves ask for.
    """

    runtime_ready: Sequence[pulumi.Resource]
    gpus_ready: Sequence[pulumi.Resource]
    may_reboot: bool

    def __init__(
        self,
        name: str,
        host: str,
        plan: PrerequisitesPlan,
        project: Path,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("berth:index:HostPrerequisites", name, None, opts)
        self._host, self._plan, self._project = host, plan, project
        self.may_reboot = plan.driver is not None and plan.driver.reboot
        self._said: dict[str, Any] = {"host": host, "on_destroy": plan.on_destroy}
        settings = [*self._settings()]
        queue: list[pulumi.Resource] = []
        for repository in plan.repositories:
            queue = [self._repository(repository, queue)]
        if plan.holds:
            want = UnattendedUpgradesWant(**self._said)
            queue = [UnattendedUpgrades(f"{host}-unattended-upgrades", want, self._after(queue))]
        runtime, queue = self._containers(plan, queue)
        accounts = [*self._users(queue)]
        late: dict[str, pulumi.Output[str]] = {}
        loaded: list[pulumi.Resource] = []
        if plan.driver is not None:
            driver = self._driver_on_disk(plan.driver, queue)
            late = {"on_disk": _on_disk(driver)}
            loaded = self._driver(plan.driver, driver, late, [*settings, *accounts, *runtime])
        if plan.toolkit is not None:
            runtime.append(self._cdi(plan.toolkit, late, [*runtime, *loaded]))
        self.gpus_ready, self.runtime_ready = loaded, [*runtime, *accounts]
        self.register_outputs({})

    def _after(self, needs: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(needs))

    def _settings(self) -> Iterator[pulumi.Resource]:
        """What needs no packages."""
        plan = self._plan
        kernel: list[pulumi.Resource] = []
        if plan.sysctl:
            want = SysctlWant(**self._said, name=_FILES, values=dict(plan.sysctl))
            kernel = [Sysctl(f"{self._host}-sysctl", want, self._after(()))]
            yield from kernel
        if plan.limits:
            # `*` is everyone but root, who is named on a line of their own.
            lines = [
                {"domain": domain, "item": item, "value": value}
                for item, value in plan.limits.items()
                for domain in ("*", "root")
            ]
            set_here = plan.sysctl.get("fs.nr_open", "")
            nr_open = int(set_here) if set_here.isdigit() else 0
            limits = LimitsWant.model_validate({**self._said, "name": _FILES, "limits": lines, "nr_open": nr_open})
            yield Limits(f"{self._host}-limits", limits, self._after(kernel))

    def _users(self, needs: Sequence[pulumi.Resource]) -> Iterator[pulumi.Resource]:
        for name, groups in self._plan.users.items():
            want = UserWant(**self._said, name=name, groups=list(groups))
            yield User(f"{self._host}-user-{name}", want, self._after(needs))

    def _repository(self, plan: RepositoryPlan, needs: Sequence[pulumi.Resource]) -> pulumi.Resource:
        apt, key_file = self._plan.manager == "apt", plan.key_file
        want = PackageRepositoryWant(
            **self._said,
            manager=self._plan.manager,
            name=plan.name,
            uris=[plan.uri],
            suites=[plan.suite] if apt else [],
            components=list(plan.components),
            architectures=[plan.architecture] if apt else [],
            key=only((self._project / key_file).read_bytes(), plan.fingerprint) if key_file is not None else "",
            key_url=plan.key_url or "",
            fingerprint=plan.fingerprint,
            signed=plan.signed,
            obsolete=list(plan.obsolete),
            label=plan.label,
            first=list(plan.first),
        )
        return PackageRepository(f"{self._host}-repository-{plan.name}", want, self._after(needs))

    def _packages(self, plan: PackagesPlan, needs: Sequence[pulumi.Resource]) -> pulumi.Resource:
        want = PackagesWant(
            **self._said, manager=self._plan.manager, name=plan.name, packages=dict(plan.packages), hold=plan.hold
        )
        return Packages(f"{self._host}-packages-{plan.name}", want, self._after(needs))

    def _containers(
        self, plan: PrerequisitesPlan, queue: list[pulumi.Resource]
    ) -> tuple[list[pulumi.Resource], list[pulumi.Resource]]:
        """Docker and the toolkit; returns what containers wait for, and what the next use of packages waits for."""
        ready: list[pulumi.Resource] = []
        if plan.docker is not None:
            queue, ready = self._docker(plan.docker, queue)
        if plan.toolkit is not None:
            queue = [self._packages(plan.toolkit.packages, queue)]
        if plan.daemon or plan.daemon_defaults:
            settings = DockerConfigurationWant(
                **self._said, settings=dict(plan.daemon), defaults=dict(plan.daemon_defaults)
            )
            ready.append(
                DockerConfiguration(f"{self._host}-docker-configuration", settings, self._after([*ready, *queue]))
            )
        if plan.toolkit is not None:
            want = ContainerToolkitWant(**self._said)
            ready.append(ContainerToolkit(f"{self._host}-container-toolkit", want, self._after([*ready, *queue])))
        return ready, queue

    def _docker(
        self, plan: DockerPlan, queue: list[pulumi.Resource]
    ) -> tuple[list[pulumi.Resource], list[pulumi.Resource]]:
        packages = self._packages(plan.packages, queue)
        engine = DockerEngine(f"{self._host}-docker", DockerEngineWant(**self._said), self._after([packages]))
        return [packages], [engine]

    def _driver_on_disk(self, plan: DriverPlan, needs: Sequence[pulumi.Resource]) -> NvidiaDriver:
        want = NvidiaDriverWant(
            **self._said,
            manager=self._plan.manager,
            branch=plan.branch,
            version=plan.version or "",
            flavour=plan.flavour,
            packages=list(plan.packages),
            pinning=plan.pinning or "",
            stream=plan.stream or "",
            headers=list(plan.headers),
            kernel=plan.kernel,
            initramfs=plan.initramfs,
        )
        return NvidiaDriver(f"{self._host}-driver", want, self._after(needs))

    def _driver(
        self, plan: DriverPlan, driver: NvidiaDriver, late: Late, before: Sequence[pulumi.Resource]
    ) -> list[pulumi.Resource]:
        """The driver in the kernel, once everything in `before` can stand a reboot, then its cards."""
        want = LoadedDriverWant(
            host=self._host,
            loaded=plan.wanted,
            flavour=plan.flavour,
            reboot="allowed" if plan.reboot else "never",
        )
        loaded = LoadedDriver(f"{self._host}-loaded-driver", want, self._after([driver, *before]), late=late)
        return [loaded, *self._cards(plan, late, [loaded])]

    def _cards(self, plan: DriverPlan, late: Late, needs: Sequence[pulumi.Resource]) -> Iterator[pulumi.Resource]:
        """What is set on the cards once their driver is loaded."""
        if plan.persistence:
            mode = PersistenceModeWant(**self._said)
            persistence = PersistenceMode(f"{self._host}-persistence-mode", mode, self._after(needs))
            yield persistence
            needs = [*needs, persistence]
        if plan.power:
            limit = PowerLimitWant(**self._said, watts={str(index): watts for index, watts in plan.power.items()})
            yield PowerLimit(f"{self._host}-power-limit", limit, self._after(needs))
        if plan.fabric_manager:
            want = FabricManagerWant(
                **self._said,
                manager=self._plan.manager,
                packages=list(plan.fabric_manager),
                companions=list(plan.companions),
            )
            yield FabricManager(f"{self._host}-fabric-manager", want, self._after(needs), late=late)

    def _cdi(self, plan: ToolkitPlan, late: Late, needs: Sequence[pulumi.Resource]) -> pulumi.Resource:
        want = CdiSpecificationWant(
            **self._said, refreshed_by=plan.refreshed_by, disabled_hooks=list(plan.disabled_hooks)
        )
        return CdiSpecification(f"{self._host}-cdi", want, self._after(needs), late=late)


def _on_disk(driver: NvidiaDriver) -> pulumi.Output[str]:
    """The driver's version on disk; a state of before it was said has none."""
    return driver.on_disk.apply(lambda version: version or "")
