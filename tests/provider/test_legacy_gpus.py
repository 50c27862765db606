"""Which containers a daemon-reload may take the GPUs from, and that all who reload say the same of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from berth.facts import HostFacts
from berth.facts.model import GpuProcess
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import BadInput
from berth.provider.legacy_gpus import before, losing_gpus, told
from berth.provider.operation import FactOperation
from berth.provider.operations.cdi_specification import CdiSpecification, CdiSpecificationWant
from berth.provider.operations.persistence_mode import PersistenceMode, PersistenceModeWant
from berth.provider.operations.power_limit import PowerLimit, PowerLimitWant
from berth.provider.operations.process import Process, ProcessWant
from berth.provider.operations.systemd_unit import SystemdUnit, SystemdUnitWant
from tests.facts.fixtures import recorded
from tests.provider.operations.facts_host import known

BOX = recorded("rtx5090-ubuntu2404")
"""With Docker 28.5, which knows the cards by CDI, and whose `--gpus` goes by the hook all the same."""
SCOPE = "/system.slice/docker-0123456789abcdef0123.scope"
UNIT = SystemdUnitWant(host="box", unit="berth-it.service", content="[Service]\nExecStart=true\n")


def used(cgroup: str = SCOPE, toolkit: str | None = "1.18.0", **docker: Any) -> HostFacts:
    process = GpuProcess(uuid="GPU-1", pid=7, memory=1, command="python", cgroup=cgroup)
    said = BOX.docker.model_copy(update=docker)
    return BOX.model_copy(update={"gpu_processes": (process,), "toolkit": toolkit, "docker": said})


@pytest.mark.parametrize(
    ("facts", "losing"),
    [
        pytest.param(BOX, [], id="nobody uses them"),
        pytest.param(used(), ["0123456789ab"], id="perhaps by --gpus, beside CDI"),
        pytest.param(used(version="29.2.0"), [], id="--gpus is CDI"),
        pytest.param(used(version="29.2.0", cdi_devices=()), ["0123456789ab"], id="no CDI device is known"),
        pytest.param(used(version="29.2.0", default_runtime="nvidia"), ["0123456789ab"], id="all by the runtime"),
        pytest.param(used(version="29.2.0", toolkit="1.17.8"), ["0123456789ab"], id="an old toolkit"),
        pytest.param(used(version=None), ["0123456789ab"], id="Docker does not answer"),
        pytest.param(used(cgroup_driver="cgroupfs"), [], id="the groups are Docker's own"),
        pytest.param(used(cgroup=f"{SCOPE}/berth-dev-engine"), [], id="Berth's own are by CDI"),
        pytest.param(used(cgroup=f"{SCOPE}/init.scope"), ["0123456789ab"], id="a group within"),
        pytest.param(used(cgroup="/user.slice/session-1.scope"), [], id="no container"),
        pytest.param(used(cgroup=SCOPE.replace("docker", "libpod")), ["0123456789ab"], id="podman"),
    ],
)
def test_who_may_lose_them(facts: HostFacts, losing: list[str]) -> None:
    assert losing_gpus(facts) == losing
    assert bool(told(facts, "box")) is bool(losing)


@pytest.mark.parametrize(
    ("operation", "want"),
    [
        (PersistenceMode(), PersistenceModeWant(host="box")),
        (PowerLimit(), PowerLimitWant(host="box", watts={"0": 450})),
        (CdiSpecification(), CdiSpecificationWant(host="box")),
    ],
    ids=["persistence", "power", "cdi"],
)
async def test_whoever_reloads_says_the_same(operation: FactOperation[Any], want: Any) -> None:
    for facts in (used(), used(version="29.2.0"), used(cgroup=f"{SCOPE}/berth-dev-engine")):
        assert list(await operation.warnings(known(facts), want)) == list(told(facts, "box"))


@pytest.mark.parametrize(("init", "tells"), [("systemd", True), ("supervisord", False)])
async def test_what_systemd_keeps_says_so_before_it_comes_and_when_it_goes(
    tmp_path: Path, init: str, *, tells: bool
) -> None:
    keeper = {"init": init, "unit_prefix": "berth", "supervisor_folder": "/s", "supervisorctl": "/s/ctl"}
    want = ProcessWant.model_validate(
        {"host": "box", "name": "it", "folder": f"{tmp_path}/it", "log": f"{tmp_path}/log", "argv": ["true"], **keeper}
    )
    host = replace(known(used()), connection=LocalConnection("box"))
    assert list(await Process().warnings(host, want)) == (list(told(used(), "box")) if tells else [])
    assert list(await before(host, Process().steps(None, want))) == (list(told(used(), "box")) if tells else [])


async def test_a_unit_of_ones_own_is_refused_for_the_same_containers() -> None:
    with pytest.raises(BadInput, match="0123456789ab"):
        await SystemdUnit().preflight(known(used()), UNIT)
    await SystemdUnit().preflight(known(used(version="29.2.0")), UNIT)
