"""What goes wrong with machines, made to happen in real parts.

Here: a held lock, a half-configured package, a full disk, connections that end in the middle. A machine without a
network is `Machine.without_network`, a reboot `Machine.reboot`.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from tests.machines.machine import Machine, Ran

HALF_CONFIGURED = "stand-in-half-configured"
"""A package of the local `debian` repository whose configuration fails the first time on each machine, no other."""
_HOLD = """
import fcntl, sys
held = [open(path, "w") for path in sys.argv[1:]]
for file in held: fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
DPKG_LOCK = "/var/lib/dpkg/lock-frontend"
LISTS_LOCK = "/var/lib/apt/lists/lock"


@contextlib.contextmanager
def apt_lock_held(machine: Machine, *locks: str) -> Iterator[None]:
    """Another process has these locks (that of dpkg's front end when none is named) while the context lasts."""
    argv = machine.engine.argv("exec", "--interactive", machine.name, "python3", "-c", _HOLD, *(locks or (DPKG_LOCK,)))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if holder.stdout.readline() != "held\n":
            raise RuntimeError(f"{machine.name}: the lock is not to be had")
        try:
            yield
        finally:
            holder.stdin.close()


def leave_half_configured(machine: Machine) -> Ran:
    """Leaves a package half-configured, as an interrupted upgrade does; needs the local repository."""
    install = f"apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes {HALF_CONFIGURED}"
    ran = machine.run(["sh", "-c", install])
    if ran.code == 0:
        raise RuntimeError(f"{machine.name}: {HALF_CONFIGURED} was to fail")
    return ran


@contextlib.contextmanager
def full_disk(machine: Machine, folder: str = "/var/cache/apt/archives", *, kib: int = 64) -> Iterator[None]:
    """A folder has its own file system of `kib` KiB, which a package fills, while the context lasts."""
    for argv in (["mkdir", "-p", folder], ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder]):
        ran = machine.run(argv)
        if ran.code != 0:
            raise RuntimeError(f"{machine.name}: {ran.err}")
    try:
        yield
    finally:
        machine.run(["umount", "--lazy", folder])


def end_connections(machine: Machine) -> None:
    """Ends all SSH connections of a machine without a word of the protocol; what their commands started lives on."""
    machine.run(["pkill", "-KILL", "-f", "^sshd-session: |^sshd: [^/]"])
