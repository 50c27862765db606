"""A bare Debian machine over SSH is made ready to serve, and kept so: the whole way, through the real Pulumi CLI.

Everything on the machine is real but the driver and its cards (tests/machines): systemd, apt, dpkg, Docker and
NVIDIA's container toolkit. The tests are the stations of one machine's life, in their order; each can run alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from conftest import sweep
from prerequisites.breakages import BREAKAGES, Breakage
from prerequisites.playground import gpu_host, snapshot, write_stack
from project import Done, Project

from tests.machines.engine import Engine
from tests.machines.faults import apt_lock_held
from tests.machines.fixtures import machine_engine, or_skip
from tests.machines.kinds import DEBIAN_13_SERVER
from tests.machines.machine import Machine
from tests.machines.repository.local import PROBE, local_repository
from tests.sshd.machine import SshMachine, start

__all__ = ["machine_engine"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd]

STACK = "box"
MANY_TIMES_ONE = 3
KINDS = {
    *("Limits", "PackageRepository", "UnattendedUpgrades", "Packages", "DockerEngine", "DockerConfiguration", "User"),
    *("ContainerToolkit", "NvidiaDriver", "LoadedDriver", "PersistenceMode", "CdiSpecification"),
}
DRIFT = re.compile(
    r"^ +\S+ berth:\S+: \((?:update|create|delete|replace)\)$(?:\n +\[id=.*)?\n.*::(\S+)\]$", re.MULTILINE
)
"""The names of resources that a preview would change."""
ONE_DONE = re.compile(r"^Resources:\n +[~+] 1 (?:updated|created)\n +\d+ unchanged$", re.MULTILINE)


@dataclass(frozen=True)
class Life:
    """A machine, and the project whose stack describes it."""

    there: SshMachine
    project: Project

    @property
    def machine(self) -> Machine:
        """The machine, as its root sees it."""
        return self.there.machine

    @cached_property
    def first_up(self) -> Done:
        """The update that makes it ready, run when it is asked for first."""
        return self.project.up(STACK).ok()

    def do(self, script: str) -> str:
        """What a script run there as root wrote; it must succeed."""
        ran = self.machine.run(["sh", "-euc", script], timeout_s=120)
        assert ran.code == 0, ran
        return ran.out


@pytest.fixture(scope="module")
def life(machine_engine: Engine, cli: Path) -> Iterator[Life]:
    """An untouched machine with a card, and a stack for it."""
    with or_skip("machine with package repositories"):
        repository = local_repository(machine_engine)
        there = start(machine_engine, DEBIAN_13_SERVER, hardware="rtx5090", repository=repository.served)
    try:
        with tempfile.TemporaryDirectory(prefix="berth-") as folder:
            project = Project.copy(Path(folder), cli)
            write_stack(project, STACK, {"box": there}, repository)
            yield Life(there, project)
            sweep(project)
    finally:
        there.machine.remove()


@pytest.fixture
def ready(life: Life) -> Life:
    """The machine once it was made ready."""
    assert life.first_up.status == 0
    return life


def test_a_preview_lists_every_change_and_touches_nothing(life: Life) -> None:
    before = snapshot(life.machine)
    preview = life.project.pulumi(STACK, "preview").ok()
    assert snapshot(life.machine) ^ before == set()
    assert set(re.findall(r"berth:host:(\w+)", preview.output)) == KINDS
    assert "the machine will be rebooted, reboot: allowed says so" in preview.output


def test_an_update_makes_it_ready_and_a_second_finds_nothing(life: Life) -> None:
    assert "rebooting box: driver 580.105.08 on disk, nouveau loaded" in life.first_up.output
    life.project.unchanged(STACK).ok()
    life.do(f"docker import /srv/repository/{PROBE} probe")
    run = "docker run --rm --network none --device nvidia.com/gpu=all probe nvidia-smi -L"
    assert life.do(f"su free -c '{run}'").startswith("GPU 0: NVIDIA GeForce RTX 5090 (UUID: GPU-")
    assert life.do("dpkg --audit") == ""


@pytest.mark.parametrize(
    "breakage",
    [pytest.param(one, id=one.name, marks=[pytest.mark.soak] if one.like_another else []) for one in BREAKAGES],
)
def test_what_is_broken_by_hand_is_one_drift_and_repaired_alone(ready: Life, breakage: Breakage) -> None:
    broken = ready.machine.run(["sh", "-euc", breakage.hand], timeout_s=120)
    assert broken.code == 0, broken
    assert ready.machine.run(["sh", "-c", breakage.whole]).code != 0
    preview = ready.project.pulumi(STACK, "preview", "--diff").ok().output
    assert DRIFT.findall(preview) == [f"box-{breakage.resource}"], preview
    shown = preview[preview.index(f"::box-{breakage.resource}]") :]
    assert all(word in shown for word in breakage.words), shown
    assert ONE_DONE.search(ready.project.up(STACK).ok().output)
    repaired = ready.machine.run(["sh", "-c", breakage.whole])
    assert repaired.code == 0, repaired


def test_two_stacks_change_one_machine_one_after_the_other(ready: Life) -> None:
    """The second waits for the first, which waits for somebody's apt, and is told for whom; then both are done."""
    connection = gpu_host(ready.there, local_repository(ready.machine.engine))["connection"]
    users = {"users": {"asks": {"groups": ["games"]}}}
    ready.project.write("other", {"hosts": {"box": {"connection": connection, "prerequisites": users}}})
    ready.project.init("other")
    ready.do("apt-mark unhold nvidia-driver-cuda")
    first, second = (ready.project.start(stack, "up", "--yes", "--skip-preview") for stack in (STACK, "other"))
    with contextlib.ExitStack() as held:
        held.enter_context(apt_lock_held(ready.machine))
        with first as one:
            waits_for_apt = _line(one, r"waiting for .*python3.* to let go of /var/lib/dpkg/lock-frontend")
            with second as two:
                waits_for_one = _line(two, r"waiting at most 30 s for another update, of ")
                held.close()
                after = two.communicate(timeout=300)[0]
            before = one.communicate(timeout=300)[0]
    assert one.returncode == 0, waits_for_apt + before
    if two.returncode != 0:  # on a machine so slow that the first took longer than the second waits
        assert "changes the host itself (packages, Docker, drivers) and did not end within 30 s" in after, after
        ready.project.up("other").ok()
    assert re.search(r"of \S+ \(process \d+\) for \S+/box, at it since 20[\d: -]+ UTC \(\d+ s\)", waits_for_one)
    assert ready.do("id -nG asks").split() == ["asks", "games"]
    ready.project.unchanged(STACK).ok()
    ready.project.destroy("other").ok()


def _line(process: subprocess.Popen[str], pattern: str) -> str:
    """The first line that a process writes with this in it."""
    written = []
    for line in process.stdout or ():
        written.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError("".join(written))


@pytest.fixture
def copies(machine_engine: Engine) -> Iterator[Callable[[SshMachine, int], list[SshMachine]]]:
    """Starts machines with copies of another one's disk, so that only one must be made ready."""
    started: list[SshMachine] = []
    image = f"berth-test-ready:{os.getpid()}"

    def start_copies(of: SshMachine, count: int) -> list[SshMachine]:
        repository = local_repository(machine_engine).served
        machine_engine.out("commit", of.machine.name, image)
        for _ in range(count):
            one = start(machine_engine, DEBIAN_13_SERVER, hardware="rtx5090", repository=repository, image=image)
            started.append(one)
        return started

    yield start_copies
    for one in started:
        one.machine.remove()
    machine_engine.run("image", "rm", "--force", image)


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_many_machines_with_nothing_to_do_take_little_longer_than_one(
    ready: Life, copies: Callable[[SshMachine, int], list[SshMachine]], count: int, machine_engine: Engine
) -> None:
    hosts = {f"box{number}": one for number, one in enumerate([ready.there, *copies(ready.there, count - 1)])}
    write_stack(ready.project, "all", hosts, local_repository(machine_engine))
    ready.project.up("all").ok()
    took: dict[str, list[float]] = {STACK: [], "all": []}
    for _ in range(2):  # in turn, so that a slow spell of this machine meets both
        for stack, times in took.items():
            begin = time.monotonic()
            ready.project.pulumi(stack, "preview", "--expect-no-changes").ok()
            times.append(time.monotonic() - begin)
    assert min(took["all"]) <= MANY_TIMES_ONE * min(took[STACK]), took


def test_a_destroy_keeps_what_others_may_use(ready: Life) -> None:
    ready.project.unchanged(STACK).ok()
    before = ready.do("dpkg-query -Wf '${Package} ${Version} ${db:Status-Abbrev}\\n'")
    ready.project.destroy(STACK).ok()
    assert ready.do("dpkg-query -Wf '${Package} ${Version} ${db:Status-Abbrev}\\n'") == before
    assert ready.do("systemctl is-active docker nvidia-persistenced").split() == ["active", "active"]
    assert "resources" not in json.loads(ready.project.state(STACK))["checkpoint"]["latest"]
