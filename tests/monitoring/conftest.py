"""promtool and Prometheus for the tests: those of the machine, else Debian's package, unpacked into the test cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def _cache() -> Path:
    root = Path(os.environ.get("BERTH_CACHE_DIR") or Path.home() / ".cache" / "berth")
    folder = root / "test-envs" / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _unpacked(program: str) -> str | None:
    """The program out of Debian's package, without installing it; None where that cannot be had."""
    folder = _cache()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = folder / "usr" / "bin" / program
        if found.is_file():
            return str(found)
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            return None
        with tempfile.TemporaryDirectory(dir=folder) as work:
            for argv in (["apt-get", "update"], ["apt-get", "download", "prometheus"]):
                subprocess.run(argv, cwd=work, capture_output=True, check=False)
            packages = sorted(Path(work).glob("prometheus_*.deb"))
            if not packages:
                return None
            subprocess.run(["dpkg-deb", "--extract", str(packages[-1]), str(folder)], check=True)
        return str(found) if found.is_file() else None


def _program(name: str) -> str:
    found = shutil.which(name) or _unpacked(name)
    if found is None:
        reason = f"{name} is not installed, and no Debian mirror gives its package"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own checker of configurations and rules."""
    return _program("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """The Prometheus server."""
    return _program("prometheus")
