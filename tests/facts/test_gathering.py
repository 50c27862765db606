"""The gathering script run for real on this machine, and its answers read."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from berth.facts.gathering import SCRIPT, parse


def answer(shell: str = "sh") -> str:
    done = subprocess.run(
        [shell, "-eu", "-c", SCRIPT, "berth"], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_this_machine(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    facts = parse(answer(shell))
    assert facts.kernel == os.uname().release
    assert facts.architecture == os.uname().machine
    assert facts.home == str(Path.home())
    assert facts.cores >= 1
    assert facts.memory > 2**28
    assert facts.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert facts.sysctl["kernel.pid_max"] == Path("/proc/sys/kernel/pid_max").read_text().strip()
    assert any(disk.mount == "/" and 0 < disk.free <= disk.size for disk in facts.disks)
    assert "root" in facts.users
    assert abs(datetime.now(UTC) - facts.gathered) < timedelta(minutes=1)
    if shutil.which("dpkg"):
        assert facts.packages["dpkg"].state == "installed"


@pytest.mark.parametrize("cut", ["", "\n\x1eberth login\nroot\n/root\n\n", "Welcome!\n"])
def test_half_an_answer_is_none(cut: str) -> None:
    with pytest.raises(ValueError, match="cut off"):
        parse(cut)


def test_noise_of_a_login_is_not_read() -> None:
    now = datetime.now(UTC)
    said = answer()
    assert parse(f"Welcome to this machine!\n{said}", now).os == parse(said, now).os
