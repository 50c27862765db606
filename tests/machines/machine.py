"""A test machine: a container whose first process is a real systemd, or a script as in a rented pod."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.machines.engine import Engine
from tests.machines.inside import enter, is_first_of

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
_BOOTED = "until [ -S /run/dbus/system_bus_socket ]; do sleep 0.05; done; exec systemctl is-system-running --wait"
_SILENCE = (
    ("INPUT", "--in-interface", "eth0", "--jump", "DROP"),
    ("OUTPUT", "--out-interface", "eth0", "--jump", "DROP"),
)


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


class Machine:
    """A running test machine. `run` is what a person logged in as root would do."""

    def __init__(self, engine: Engine, name: str, *, systemd: bool = True) -> None:
        self.engine = engine
        self.name = name
        self.systemd = systemd
        self._entered = ""

    @classmethod
    def start(cls, engine: Engine, image: str, *options: str, systemd: bool = True) -> Machine:
        """Starts a machine and waits until it has booted; `options` are more of `docker run`'s.

        Without systemd, the image's first process says that it has booted by making /run/booted.

        Raises:
            RuntimeError: the container does not start or its first process does not come up.
        """
        remove_abandoned(engine)
        machine = cls(engine, f"berth-test-{os.getpid()}-{uuid.uuid4().hex[:8]}", systemd=systemd)
        settings = _settings() if systemd else _plain()
        engine.out("run", "--detach", "--name", machine.name, *settings, *options, image)
        try:
            machine.wait_for_boot()
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
        done = subprocess.run(
            self.argv(*argv, interactive=data is not None),
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def argv(self, *argv: str, interactive: bool = False) -> list[str]:
        """The command line that runs a command there as root, for a process of this machine to start.

        By Docker where its first process cannot be entered; without `interactive` nothing can be written to it then.
        """
        if self.systemd and os.geteuid() == 0:
            pid = int(self._entered.partition(":")[0] or 0)
            if not pid or _owner(pid) != self._entered:
                state = self.engine.run("inspect", "--format", "{{.State.Pid}} {{.Id}}", self.name).stdout.decode()
                first, _, container = state.strip().partition(" ")
                pid = int(first or 0) if is_first_of(int(first or 0), container) else 0
                self._entered = _owner(pid) if pid else ""
            if self._entered:
                return enter(pid, *argv)
        return self.engine.argv("exec", *(("--interactive",) if interactive else ()), self.name, *argv)

    @property
    def pid(self) -> int:
        """The process id of its systemd as seen from here; changes with a reboot."""
        return int(self.engine.out("inspect", "--format", "{{.State.Pid}}", self.name))

    def reboot(self) -> None:
        """Ends every process in order and boots again; /run is empty afterwards, the disk is kept."""
        self.engine.out("restart", "--time", "20", self.name)
        self.wait_for_boot()

    def wait_for_reboot(self, old: int) -> None:
        """Waits until the machine whose first process was `old` has booted anew; for reboots from within."""
        deadline = time.monotonic() + BOOT_S
        while self.pid in {0, old}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not reboot")
        self.wait_for_boot()

    def cut(self) -> None:
        """Takes the network away: what is sent to it or by it is lost without a word."""
        for rule in _SILENCE:
            self._filter("--insert", *rule)

    def mend(self) -> None:
        """Gives the network back."""
        for rule in _SILENCE:
            self._filter("--delete", *rule)

    @contextlib.contextmanager
    def without_network(self) -> Iterator[None]:
        """Cut for as long as the context lasts."""
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def _filter(self, *arguments: str) -> None:
        enter = ("nsenter", "--target", str(self.pid), "--net", "--", "iptables", *arguments)
        subprocess.run(enter, check=True, capture_output=True)

    def remove(self) -> None:
        """Ends it and leaves nothing."""
        self.engine.run("rm", "--force", "--volumes", self.name)

    def wait_for_boot(self) -> None:
        """Waits until it has booted, also when it boots again because somebody rebooted it from within.

        Raises:
            RuntimeError: it does not come up.
        """
        deadline = time.monotonic() + BOOT_S
        while True:
            state = self._state()
            if state in {"running", "degraded"}:
                return
            if time.monotonic() > deadline or not self._alive():
                said = self.engine.run("logs", "--tail", "20", self.name)
                last = (said.stdout + said.stderr).decode(errors="replace")
                raise RuntimeError(f"{self.name}: its first process says {state!r}:\n{last}")

    def _state(self) -> str:
        if self.systemd:
            # `--wait` returns when the boot is over, and fails at once while there is no bus to hear it on.
            said = self.run(["sh", "-c", _BOOTED], timeout_s=BOOT_S)
            return said.out.strip() or said.err.strip()
        booted = self.run(["sh", "-c", "until [ -e /run/booted ]; do sleep 0.05; done"], timeout_s=BOOT_S)
        return "running" if booted.code == 0 else booted.err.strip()

    def _alive(self) -> bool:
        state = self.engine.run("inspect", "--format", "{{.State.Running}}{{.State.Restarting}}", self.name)
        return b"true" in state.stdout


def owner_label() -> str:
    """The label of a container that goes once this process is gone."""
    return f"{_OWNER}={_owner(os.getpid())}"


def remove_abandoned(engine: Engine) -> None:
    """Removes the containers of test processes that were killed."""
    listed = engine.out(
        "ps", "--all", "--filter", f"label={_OWNER}", "--format", f'{{{{.Names}}}} {{{{.Label "{_OWNER}"}}}}'
    )
    for line in listed.splitlines():
        name, _, owner = line.partition(" ")
        if _owner(int(owner.partition(":")[0])) != owner:
            engine.run("rm", "--force", "--volumes", name)


def _plain() -> list[str]:
    return ["--tmpfs", "/run", "--label", owner_label()]


def _settings() -> list[str]:
    """What systemd needs where `--privileged` is refused: as many rights as there are, by name."""
    settings = ["--cap-drop", "ALL"]
    for capability in _bounding_set():
        settings += ["--cap-add", capability]
    settings += ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
    settings += ["--security-opt", "systempaths=unconfined"]
    settings += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]
    settings += ["--stop-signal", "SIGRTMIN+3", "--label", owner_label()]
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
