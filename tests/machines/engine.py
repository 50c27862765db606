"""A Docker engine for tests: the one that answers already, else one of our own that ends with its last user.

Ours has its own socket, data folder and bridge, so that a developer's Docker is never touched. Several test processes
may share it: each holds a shared lock while it uses it, and whoever finds itself alone at the end stops it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = Path("/run/berth-test-docker")
BRIDGE = "berth-test0"
BRIDGE_ADDRESS = "10.213.77.1/24"  # only reachable on this machine; any private network that is seldom used will do
START_S = 60.0

NVIDIA_RUNTIME = RUN / "nvidia-runtime"
NVIDIA_ASKED = RUN / "nvidia-asked"
"""What containers asked of the runtime `nvidia` of our engine, a line each."""

_NVIDIA = f"""#!/bin/sh
# Stands in for nvidia-container-runtime, which needs a driver: notes the cards that a container asks for.
previous= bundle=
for word in "$@"; do
  case $previous in --bundle | -b) bundle=$word ;; esac
  case $word in --bundle=*) bundle=${{word#*=}} ;; esac
  previous=$word
done
if [ -n "$bundle" ]; then grep -o 'NVIDIA_VISIBLE_DEVICES=[^"]*' "$bundle/config.json" >> {NVIDIA_ASKED}; fi
exec runc "$@"
"""
INOTIFY_INSTANCES = 1024


class Unavailable(Exception):
    """This machine cannot offer what a test needs; the message says what is missing."""


def cache_folder() -> Path:
    """Where what takes long to make is kept between sessions."""
    return Path(os.environ.get("BERTH_CACHE_DIR") or Path.home() / ".cache" / "berth")


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers at `host` (the value of DOCKER_HOST)."""

    host: str

    def argv(self, *arguments: str) -> list[str]:
        """The command line of a docker command for this engine."""
        return ["docker", "--host", self.host, *arguments]

    def run(
        self, *arguments: str, stdin: bytes | None = None, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a docker command to its end; its status is returned, never raised."""
        return subprocess.run(
            self.argv(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )

    def out(self, *arguments: str, timeout_s: float = 120.0) -> str:
        """What a docker command that must succeed wrote.

        Raises:
            RuntimeError: it failed; the message holds what it said.
        """
        done = self.run(*arguments, timeout_s=timeout_s)
        if done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode().strip()

    def answers(self) -> bool:
        """Whether an engine is there."""
        return shutil.which("docker") is not None and self.run("version", timeout_s=30).returncode == 0


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """An engine for as long as the context lasts.

    Raises:
        Unavailable: none answers and none can be started here.
    """
    theirs = Engine(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    if theirs.answers():
        yield theirs
        return
    if os.geteuid() != 0:
        raise Unavailable(f"no Docker engine answers at {theirs.host}, and starting one needs root")
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / "users.lock").open("w") as users:
        with _alone():
            engine = _start_ours()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield engine
        finally:
            with _alone():
                fcntl.flock(users, fcntl.LOCK_UN)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _stop_ours()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One test process at a time starts or stops the engine."""
    with (RUN / "change.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_ours() -> Engine:
    engine = Engine(f"unix://{RUN}/docker.sock")
    if engine.answers():
        return engine
    install({"dockerd": "docker.io", "docker": "docker.io", "iptables": "iptables", "ip": "iproute2"})
    _make_bridge()
    _allow_watches()
    log = RUN / "dockerd.log"
    argv = [
        "dockerd",
        *("--data-root", str(cache_folder() / "docker")),
        *("--exec-root", str(RUN / "exec")),
        *("--pidfile", str(RUN / "dockerd.pid")),
        *("--bridge", BRIDGE),
        *("--host", engine.host),
        *("--add-runtime", f"nvidia={NVIDIA_RUNTIME}"),
    ]
    NVIDIA_RUNTIME.write_text(_NVIDIA)
    NVIDIA_RUNTIME.chmod(0o755)
    (RUN / "dockerd.pid").unlink(missing_ok=True)
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + START_S
    while not engine.answers():
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(0.1)
        if daemon.returncode is not None or time.monotonic() > deadline:
            daemon.kill()
            last = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            raise Unavailable(f"dockerd does not start here; its last lines:\n{last}")
    daemon.returncode = 0  # it may outlive this process, which must not be a warning
    return engine


def _stop_ours() -> None:
    """Ends our dockerd, and with it what it runs; its data folder stays for the next session."""
    pidfile = RUN / "dockerd.pid"
    pid = int(pidfile.read_text()) if pidfile.exists() else 0
    command = Path(f"/proc/{pid}/cmdline")
    if pid and command.exists() and str(RUN).encode() in command.read_bytes():
        end = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        _wait_for_exit(end, pid)
        os.close(end)
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)


def _wait_for_exit(pidfd: int, pid: int) -> None:
    if not select.select([pidfd], [], [], 30)[0]:
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # it is our child only where this process started it
        os.waitpid(pid, 0)


def _make_bridge() -> None:
    """Docker's default bridge would be shared with (and deleted by) another engine of this machine."""
    if Path("/sys/class/net", BRIDGE).exists():
        return
    for argv in (
        ["ip", "link", "add", BRIDGE, "type", "bridge"],
        ["ip", "address", "add", BRIDGE_ADDRESS, "dev", BRIDGE],
        ["ip", "link", "set", BRIDGE, "up"],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"{' '.join(argv)}: {done.stderr.strip()}; a bridge for containers cannot be made here")


def _allow_watches() -> None:
    """Debian's 128 inotify instances are for all of this machine's root; ten machines with systemd use them up."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) < INOTIFY_INSTANCES:
        limit.write_text(str(INOTIFY_INSTANCES))


def install(packages: dict[str, str]) -> None:
    """Installs the Debian packages of those programs that are missing.

    Raises:
        Unavailable: this is no Debian, this user is not root, or no package mirror answers.
    """
    missing = sorted({package for program, package in packages.items() if shutil.which(program) is None})
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable(f"missing here: {', '.join(missing)}; installing them needs apt-get and root")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    argv = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        subprocess.run(["apt-get", "update"], env=environment, capture_output=True, check=False)
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(argv)}: {done.stderr.strip()}")
