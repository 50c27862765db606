"""Packages and repositories with real dnf, as a login whose sudo asks for a password, over SSH."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from berth.provider.connection.settings import OverSsh
from berth.provider.errors import ProviderError
from berth.provider.host import Host, Hosts, HostSettings
from berth.provider.operations.package_repository import PackageRepository, PackageRepositoryWant
from berth.provider.operations.packages import Packages, PackagesWant
from tests.machines.engine import Engine
from tests.machines.fixtures import or_skip
from tests.machines.kinds import PASSWORD, REPOSITORY_ADDRESS, ROCKY_9_SERVER
from tests.machines.machine import Machine
from tests.machines.repository.enterprise import TOOLKIT
from tests.machines.repository.local import KEY_FILES, LocalRepository, enterprise_repository
from tests.sshd.fixtures import StartMachine, start_machine

__all__ = ["start_machine"]

pytestmark = pytest.mark.systemd

PACKAGES = Packages()
REPOSITORY = PackageRepository()
NAMES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


@dataclass
class Box:
    """The machine, its repositories, and what was said."""

    host: Host
    machine: Machine
    local: LocalRepository
    said: list[str] = field(default_factory=list)

    def repository(self, place: str, **more: Any) -> PackageRepositoryWant:
        """A repository as a stack would declare it."""
        plain = {
            **{
                "host": "box",
                "manager": "dnf",
                "name": place.partition("/")[0],
                "uris": [f"{REPOSITORY_ADDRESS}/{place}"],
            },
            **{"key_url": f"{REPOSITORY_ADDRESS}/{KEY_FILES[place]}", "fingerprint": self.local.fingerprints[place]},
        }
        return PackageRepositoryWant.model_validate({**plain, **more})

    def packages(self, packages: dict[str, str], **more: Any) -> PackagesWant:
        """A set of packages."""
        return PackagesWant.model_validate(
            {"host": "box", "manager": "dnf", "name": "it", "packages": packages, **more}
        )

    def installed(self, name: str) -> str:
        """What rpm says of a package."""
        return self.machine.run(["rpm", "-q", "--qf", "%{VERSION}", name]).out

    async def problem(self, want: PackageRepositoryWant | PackagesWant) -> str:
        """What `up` says of something that cannot be."""
        operation: Any = REPOSITORY if isinstance(want, PackageRepositoryWant) else PACKAGES
        with pytest.raises(ProviderError) as caught:
            await operation.converge(self.host, want, want)
        return str(caught.value)


@pytest.fixture
async def box(start_machine: StartMachine, machine_engine: Engine) -> AsyncIterator[Box]:
    with or_skip("repository for dnf"):
        local = enterprise_repository(machine_engine)
    there = start_machine(ROCKY_9_SERVER, repository=local.served)
    settings = HostSettings(connection=OverSsh(ssh=there.settings("asks", PASSWORD)), workspace="w")
    hosts = Hosts({"box": settings})
    said: list[str] = []
    yield Box(hosts.reader("box", said.append), there.machine, local, said)
    await hosts.close()


async def test_repositories_versions_and_locks_are_made_kept_and_seen(box: Box) -> None:
    toolkit = box.repository(TOOLKIT, signed="metadata")
    assert "must hold" in await box.problem(toolkit.model_copy(update={"fingerprint": "A" * 40}))
    assert await REPOSITORY.observe(box.host, toolkit) is None
    gone = box.repository(TOOLKIT, uris=[f"{REPOSITORY_ADDRESS}/none"])
    assert "the repository has no such file" in await box.problem(gone)
    await REPOSITORY.converge(box.host, toolkit, toolkit)
    assert await REPOSITORY.observe(box.host, toolkit) == toolkit

    older = box.packages(dict.fromkeys(NAMES, "1.19.1-1"), hold=True)
    await PACKAGES.converge(box.host, older, older)
    box.said.clear()
    assert await PACKAGES.converge(box.host, older, older) == older
    assert box.said == []
    assert "1.20.1" not in box.machine.run(["dnf", "-q", "check-update"]).out

    newer = box.packages(dict.fromkeys(NAMES, "1.20.*"), hold=True)
    await PACKAGES.converge(box.host, newer, newer)
    assert [box.installed(name) for name in NAMES] == ["1.20.1"] * 4
    refused = await box.problem(box.packages(dict.fromkeys(NAMES, "1.19.*"), hold=True))
    assert "these would become older: libnvidia-container" in refused
    assert [box.installed(name) for name in NAMES] == ["1.20.1"] * 4
    await PACKAGES.converge(box.host, older, older)
    assert [box.installed(name) for name in NAMES] == ["1.19.1"] * 4

    await PACKAGES.converge(box.host, None, older.model_copy(update={"on_destroy": "remove"}))
    assert await PACKAGES.observe(box.host, older) is None
