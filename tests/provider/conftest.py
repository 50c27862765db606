"""What tests of the provider share: this machine as a host, and an environment with supervisord."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from berth.provider.connection.local import LocalConnection
from berth.provider.host import Host
from components.host import SUPERVISOR


@pytest.fixture
def said() -> list[str]:
    """The status lines of `host`, in their order."""
    return []


@pytest.fixture
def host(tmp_path: Path, said: list[str]) -> Host:
    """This machine, with a folder of this test as its workspace."""
    return Host(name="box", workspace=str(tmp_path / "work"), connection=LocalConnection("box"), say=said.append)


@pytest.fixture(scope="session")
def supervisor_environment() -> str:
    """A Python environment with the supervisord that the product installs, made once per version."""
    requirement = SUPERVISOR.requirements[0]
    cache = Path(os.environ.get("BERTH_CACHE_DIR", "~/.cache/berth")).expanduser()
    environment = cache / "test-envs" / requirement.replace("==", "-")
    environment.parent.mkdir(parents=True, exist_ok=True)
    with (environment.parent / f"{environment.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (environment / "bin/supervisord").exists():
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "--clear", "--python", SUPERVISOR.python, str(environment)], check=True)
            python = str(environment / "bin/python")
            subprocess.run([*uv, "pip", "install", "--python", python, requirement], check=True)
    return str(environment)
