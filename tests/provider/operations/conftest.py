"""The hosts that the tests of services run on, one after the other."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from berth.provider.connection.local import LocalConnection
from tests.machines.connection import MachineConnection
from tests.machines.docker_fixtures import docker
from tests.machines.fixtures import machine_engine, systemd_machine
from tests.machines.machine import Machine
from tests.provider.operations.gateway_standin import gateway
from tests.provider.operations.gpu_machine import gpu_machine
from tests.provider.operations.site import Site, site

__all__ = ["docker", "gateway", "gpu_machine", "machine_engine", "systemd_machine"]


def under_supervisord(tmp_path: Path, environment: str) -> AbstractAsyncContextManager[Site]:
    """This machine, with a supervisord of this test."""
    root = str(tmp_path / "work")
    supervision = {
        "init": "supervisord",
        "unit_prefix": "berth-test",
        "supervisor_folder": f"{root}/supervisor",
        "supervisorctl": f"{environment}/bin/supervisorctl",
    }
    return site(LocalConnection("box"), root, os.path.realpath(sys.executable), supervision)


def under_systemd(machine: Machine) -> AbstractAsyncContextManager[Site]:
    """A machine with systemd, in a folder and with units of this test."""
    root = f"/root/{uuid.uuid4().hex[:8]}"
    supervision = {"init": "systemd", "unit_prefix": f"berth-{Path(root).name}"}
    return site(MachineConnection(machine), root, "/usr/bin/python3", supervision)


@pytest.fixture
async def supervised(tmp_path: Path, supervisor_environment: str) -> AsyncIterator[Site]:
    """For what only supervisord needs."""
    async with under_supervisord(tmp_path, supervisor_environment) as made:
        yield made


@pytest.fixture(params=["supervisord", pytest.param("systemd", marks=pytest.mark.systemd)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Each kind of host in turn; only the one that is asked for is made."""
    if request.param == "supervisord":
        chosen = under_supervisord(tmp_path, request.getfixturevalue("supervisor_environment"))
    else:
        chosen = under_systemd(request.getfixturevalue("systemd_machine"))
    async with chosen as made:
        yield made
