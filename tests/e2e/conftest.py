"""What the end-to-end tests share: the Pulumi CLI, copies of the project, ports that nobody else has."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from project import ROOT, Project

from tests.ports import free_ports


@pytest.fixture(scope="session")
def cli() -> Path:
    """The folder of the Pulumi CLI, found or built by the bootstrap."""
    done = subprocess.run([sys.executable, "-m", "bootstrap", "pulumi"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return Path(done.stdout.decode().strip())


@pytest.fixture
def ports() -> Callable[[], int]:
    """Gives the first of ten free ports."""
    return lambda: free_ports(10)[0]


@pytest.fixture
def project(cli: Path) -> Iterator[Project]:
    """A copy of the project; whatever its stacks left running is ended.

    Its path is short: a Unix socket lies in it, and pytest's own folders are deep.
    """
    with tempfile.TemporaryDirectory(prefix="berth-") as folder:
        made = Project.copy(Path(folder), cli)
        yield made
        sweep(made)


def sweep(made: Project) -> None:
    """Ends everything that was started from a copy; for tests that failed before their own destroy."""
    while left := made.processes():
        for pid in left:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
