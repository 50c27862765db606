"""The first update of a bare machine, interrupted at any moment: the next one converges, nothing is half done."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import sweep
from prerequisites.playground import write_stack
from project import Done, Project

from tests.machines.engine import Engine
from tests.machines.faults import apt_lock_held, end_connections, full_disk, leave_half_configured
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import DEBIAN_13_SERVER
from tests.machines.machine import Machine
from tests.machines.repository.local import local_repository
from tests.sshd.fixtures import StartMachine, start_machine
from tests.sshd.machine import SshMachine

__all__ = ["machine_engine", "start_machine"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd]

STACK = "cut"
SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 20))]
LINES = 90
"""About as many lines as a first update writes before its reboot and after."""
_HALF_WRITTEN = r"""
find /etc /usr /boot /var/lib -xdev -name '.berth.*' -o -name '*.dpkg-new' -o -name '*.dpkg-tmp'
dpkg --audit
apt-get check -qq
"""


@pytest.fixture
def bare(start_machine: StartMachine, machine_engine: Engine, cli: Path) -> Iterator[tuple[SshMachine, Project]]:
    """A machine of this test alone, and a project whose stack describes it."""
    repository = local_repository(machine_engine)
    there = start_machine(DEBIAN_13_SERVER, hardware="rtx5090", repository=repository.served)
    with tempfile.TemporaryDirectory(prefix="berth-") as folder:
        project = Project.copy(Path(folder), cli)
        write_stack(project, STACK, {"box": there}, repository)
        yield there, project
        sweep(project)


def up_until(project: Project, line: Callable[[int, str], bool], then: Callable[[], None]) -> Done:
    """Runs an update to its end; something happens once at the first line of its output that is asked for."""
    written = []
    happened = False
    with project.start(STACK, "up", "--yes", "--skip-preview") as process:
        assert process.stdout is not None
        for number, text in enumerate(process.stdout):
            written.append(text)
            if not happened and line(number, text):
                happened = True
                then()
        process.wait(timeout=300)
    return Done(process.returncode, "".join(written))


def assert_whole(machine: Machine, project: Project) -> None:
    """An update makes it ready, finds nothing more to do, and nothing half-written is left."""
    project.up(STACK).ok()
    project.unchanged(STACK).ok()
    left = machine.run(["sh", "-c", _HALF_WRITTEN])
    assert left == (0, "", ""), left
    assert machine.run(["nvidia-smi", "-L"]).code == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_connections_end_at_any_moment_of_the_first_update(bare: tuple[SshMachine, Project], seed: int) -> None:
    there, project = bare
    moment = random.Random(seed).randrange(8, LINES)  # noqa: S311 -- it need only be the same each time
    done = up_until(project, lambda number, _: number >= moment, lambda: end_connections(there.machine))
    assert "Traceback" not in done.output
    assert_whole(there.machine, project)


@pytest.mark.soak
def test_a_network_that_is_lost_without_a_word(bare: tuple[SshMachine, Project]) -> None:
    """The update says so and ends by itself; the machine's own sshd would hold the old connection for much longer."""
    there, project = bare
    done = up_until(project, lambda _, text: "NvidiaDriver box-driver creating" in text, there.machine.cut)
    there.machine.mend()
    assert done.status != 0
    assert "box: connection lost while " in done.output
    assert "Traceback" not in done.output
    end_connections(there.machine)
    assert_whole(there.machine, project)


def test_a_broken_package_a_held_lock_a_full_disk_and_a_reboot(bare: tuple[SshMachine, Project]) -> None:
    there, project = bare
    leave_half_configured(there.machine)
    with apt_lock_held(there.machine):
        project.pulumi(STACK, "preview").ok()
    with full_disk(there.machine):
        full = project.up(STACK)
    assert full.status != 0
    assert "disk" in full.output or "space" in full.output
    done = up_until(project, lambda _, text: "NvidiaDriver box-driver creating" in text, there.machine.reboot)
    assert "Traceback" not in full.output + done.output
    assert_whole(there.machine, project)
