"""A killed update at any moment: the next one converges, and a destroy leaves nothing.

A few seeds here, many in `make soak`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from light import stack
from project import PASSPHRASE, ROOT, Done, Project, until
from standin import install

pytestmark = pytest.mark.pulumi

SEEDS = [*range(10), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(10, 60))]
DESTROY_SEEDS = [
    *(0, 9),  # late and early
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(60) if seed not in {0, 9}),
]
REAL_SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 12))]
LONGEST_S = 14  # of a first deployment with the light engine on two cores, so that kills fall all along it
REAL_LONGEST_S = 60  # the same with the real engine


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light engine's folder."""
    return install(tmp_path_factory.mktemp("engine"))


def berth(project: Project, stack_name: str, command: str) -> list[str]:
    """The command line of `berth up` and `berth down` as `make` runs it."""
    del project
    return [str(ROOT / ".venv/bin/python"), "-m", "berth.cli", command, stack_name]


def run(project: Project, stack_name: str, command: str) -> Done:
    """Runs it to its end, in the copy."""
    done = subprocess.run(
        berth(project, stack_name, command),
        cwd=project.root,
        env={**os.environ, "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return Done(done.returncode, done.stdout)


def killed(project: Project, stack_name: str, after_s: float) -> bool:
    """Starts an update and kills all of it after a while; whether it was still running."""
    with subprocess.Popen(
        berth(project, stack_name, "up"),
        cwd=project.root,
        env={**os.environ, "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True
    return False


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_then_up_converges(project: Project, environment: Path, ports: Callable[[], int], seed: int) -> None:
    project.write("light", stack(ports(), environment))
    killed(project, "light", random.Random(seed).uniform(0.5, LONGEST_S))  # noqa: S311 -- a moment, not a secret
    _converges(project)


@pytest.mark.engine
@pytest.mark.parametrize("seed", REAL_SEEDS)
def test_killed_with_the_real_engine_then_up_converges(
    project: Project, environment: Path, ports: Callable[[], int], seed: int
) -> None:
    content = stack(ports(), environment, first={"start_timeout": "5m", "args": {"enforce_eager": True}})
    del content["models"]["first"]["engine"]["environment"]
    project.write("light", content)
    killed(project, "light", random.Random(seed).uniform(0.5, REAL_LONGEST_S))  # noqa: S311 -- as above
    _converges(project)


def _converges(project: Project) -> None:
    """The next update ends well, leaves nothing pending and nothing twice, and takes down cleanly."""
    until(lambda: not _providers(project), "the end of the killed update's provider", 10)

    run(project, "light", "up").ok()

    assert json.loads(project.state("light"))["checkpoint"]["latest"].get("pending_operations", []) == []
    project.unchanged("light").ok()
    assert len([line for line in project.processes().values() if "supervisord" in line]) == 1
    run(project, "light", "down").ok()
    assert project.processes() == {}
    assert not project.workspace("light").exists()


@pytest.mark.parametrize("seed", DESTROY_SEEDS)
def test_killed_then_destroy_leaves_nothing(
    project: Project, environment: Path, ports: Callable[[], int], seed: int
) -> None:
    project.write("light", stack(ports(), environment))
    killed(project, "light", random.Random(1000 + seed).uniform(0.5, LONGEST_S))  # noqa: S311 -- as above
    run(project, "light", "down").ok()
    until(lambda: not project.processes(), "the end of everything", 10)
    assert not project.workspace("light").exists()


def _providers(project: Project) -> list[int]:
    return [pid for pid, line in project.processes().items() if "berth.provider.serve" in line]


@pytest.mark.soak  # it holds a number of this file to what a machine takes, which no change of the product moves far
def test_the_longest_moment_covers_a_whole_deployment(
    project: Project, environment: Path, ports: Callable[[], int]
) -> None:
    project.write("light", stack(ports(), environment))
    begin = time.monotonic()
    run(project, "light", "up").ok()
    assert time.monotonic() - begin < 3 * LONGEST_S
    run(project, "light", "down").ok()
