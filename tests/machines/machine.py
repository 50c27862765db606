"""A test machine: a container whose first process is a real systemd."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.machines.engine import Engine

BOOT_S = 60.0
_CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
"""By number, as in linux/capability.h."""
_LEFT_OUT = {"PERFMON", "BPF", "CHECKPOINT_RESTORE"}  # older container runtimes do not know these
_OWNER = "berth-test-owner"


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


class Machine:
    """A running test machine. `run` is what a person logged in as root would do."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    @classmethod
    def start(cls, engine: Engine, image: str) -> Machine:
        """Starts a machine and waits until it has booted.

        Raises:
            RuntimeError: the container does not start or systemd does not come up.
        """
        remove_abandoned(engine)
        machine = cls(engine, f"berth-test-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        engine.out("run", "--detach", "--name", machine.name, *_settings(), image)
        try:
            machine._wait_for_boot()
        except BaseException:
            machine.remove()
            raise
        return machine

    def run(self, argv: Sequence[str], stdin: str | bytes | None = None, *, timeout_s: float = 60.0) -> Ran:
        """Runs a command there as root; `stdin` is closed where there is none.

        Raises:
            subprocess.TimeoutExpired: it did not end in time.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        flags = ("--interactive",) if data is not None else ()
        done = self.engine.run("exec", *flags, self.name, *argv, stdin=data, timeout_s=timeout_s)
        return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    @property
    def pid(self) -> int:
        """The process id of its systemd as seen from here; changes with a reboot."""
        return int(self.engine.out("inspect", "--format", "{{.State.Pid}}", self.name))

    def reboot(self) -> None:
        """Ends every process in order and boots again; /run is empty afterwards, the disk is kept."""
        self.engine.out("restart", "--time", "20", self.name)
        self._wait_for_boot()

    def remove(self) -> None:
        """Ends it and leaves nothing."""
        self.engine.run("rm", "--force", "--volumes", self.name)

    def _wait_for_boot(self) -> None:
        deadline = time.monotonic() + BOOT_S
        while True:
            # `--wait` returns when the boot is over; before systemd listens the command itself fails, at once.
            state = self.run(["systemctl", "is-system-running", "--wait"], timeout_s=BOOT_S)
            if state.out.strip() in {"running", "degraded"}:
                return
            if time.monotonic() > deadline or not self._alive():
                said = self.engine.run("logs", "--tail", "20", self.name)
                last = (said.stdout + said.stderr).decode(errors="replace")
                raise RuntimeError(f"{self.name}: systemd says {state.out.strip() or state.err.strip()!r}:\n{last}")

    def _alive(self) -> bool:
        return self.engine.run("inspect", "--format", "{{.State.Running}}", self.name).stdout.strip() == b"true"


def remove_abandoned(engine: Engine) -> None:
    """Removes the machines of test processes that were killed."""
    listed = engine.out(
        "ps", "--all", "--filter", f"label={_OWNER}", "--format", f'{{{{.Names}}}} {{{{.Label "{_OWNER}"}}}}'
    )
    for line in listed.splitlines():
        name, _, owner = line.partition(" ")
        if _owner(int(owner.partition(":")[0])) != owner:
            engine.run("rm", "--force", "--volumes", name)


def _settings() -> list[str]:
    """What systemd needs where `--privileged` is refused: as many rights as there are, by name."""
    settings = ["--cap-drop", "ALL"]
    for capability in _bounding_set():
        settings += ["--cap-add", capability]
    settings += ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
    settings += ["--security-opt", "systempaths=unconfined"]
    settings += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]
    settings += ["--stop-signal", "SIGRTMIN+3", "--label", f"{_OWNER}={_owner(os.getpid())}"]
    # The host's own view of its groups, writable: under version 1 there is no other, under version 2 it works as well.
    return [*settings, "--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]


def _bounding_set() -> list[str]:
    status = Path("/proc/self/status").read_text()
    bits = int(status.partition("CapBnd:")[2].split()[0], 16)
    return [name for number, name in enumerate(_CAPABILITIES.split()) if bits >> number & 1 and name not in _LEFT_OUT]


def _owner(pid: int) -> str:
    """Names a process for as long as this machine is up; its start time tells it from a later one of the same id."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{pid}:{fields[19]}"
