"""The gathering script run for real on this machine, and its answers read."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from berth.facts.gathering import AFTER_SUDO, SCRIPT, parse


def answer(shell: str = "sh", *arguments: str, env: dict[str, str] | None = None) -> str:
    argv = [shell, "-eu", "-c", SCRIPT, "berth", *arguments]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60, env=env)
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


def test_root_that_was_given_a_password_for_sudo_is_its_own_login() -> None:
    env = {key: value for key, value in os.environ.items() if key != "SUDO_USER"}
    assert parse(answer("sh", AFTER_SUDO, env=env)).user == getpass.getuser()


_LOGIN = """#!/bin/sh
if [ "$*" = -u ] && [ -z "${ROOT-}" ]; then echo 1000; else exec /usr/bin/id "$@"; fi
"""
_GIVES = """#!/bin/sh
[ "$1 $2" = "-n --" ] || exit 2
shift 2
ROOT=1 exec "$@"
"""
_REFUSES = """#!/bin/sh
echo "sudo: a password is required" >&2
exit 1
"""


@pytest.mark.parametrize(("sudo", "root"), [(_GIVES, True), (_REFUSES, False)], ids=["gives", "refuses"])
@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_a_login_is_root_where_sudo_asks_nothing(shell: str, sudo: str, root: bool, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    for name, content in (("id", _LOGIN), ("sudo", sudo)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    facts = parse(answer(shell, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}))
    assert facts.root is root
    assert facts.kernel == os.uname().release
    assert ("root" in facts.unread) is not root
