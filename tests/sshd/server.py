"""A real sshd on the loopback address, with keys and a configuration of its own, that ends with its test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from berth.provider.connection.settings import SshSettings
from tests.machines.engine import Unavailable, install
from tests.ports import free_port

START_S = 20.0
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Debian's sshd wants this empty folder, which its service would make."""


@dataclass
class Sshd:
    """A running sshd; whoever runs the tests can log in to it with `key`."""

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def key(self) -> Path:
        """The private key that it lets in."""
        return self.folder / "client"

    @property
    def host_key(self) -> str:
        """The machine's public key."""
        return (self.folder / "host.pub").read_text().strip()

    @property
    def user(self) -> str:
        """Who may log in."""
        return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()

    def settings(self, **changed: object) -> SshSettings:
        """How the provider reaches it, with some of it changed."""
        plain = {"host": "127.0.0.1", "port": self.port, "user": self.user}
        keys = {"host_key": self.host_key, "key_file": str(self.key)}
        return SshSettings.model_validate({**plain, **keys, **changed})

    def start(self) -> None:
        """Starts it and waits until it listens."""
        config = self.folder / "sshd_config"
        config.write_text("\n".join((*_lines(self.folder, self.port), *self.options, "")))
        sshd = shutil.which("sshd")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(sshd), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not _listens(self.port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd does not start:\n{(self.folder / 'log').read_text(errors='replace')}")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Runs it for as long as the context lasts."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def sessions(self) -> list[int]:
        """The processes that it has for its connections."""
        assert self._process is not None
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def drop(self) -> None:
        """Cuts all of its connections without a word of the protocol."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Ends it and its connections."""
        if self._process is None:
            return
        self.drop()
        self._process.terminate()
        self._process.wait(10)
        self._process = None

    def log(self) -> str:
        """What it has written."""
        return (self.folder / "log").read_text(errors="replace")


def make_sshd(folder: Path, *options: str) -> Sshd:
    """One that is not started yet, with lines of configuration beside its own.

    Raises:
        Unavailable: this machine has none and cannot get one.
    """
    os.environ["PATH"] = _with_sbin(os.environ.get("PATH", ""))
    if shutil.which("sshd") is None and Path("/run/systemd/system").exists():
        # installing it would open this machine to everybody who may log in
        raise Unavailable("sshd is missing here; install openssh-server")
    install({"sshd": "openssh-server", "ssh-keygen": "openssh-client"})
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "client"):
        make_key(folder / name)
    shutil.copy(folder / "client.pub", folder / "authorized_keys")
    return Sshd(folder, free_port(), options)


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    """A new key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)], check=True)
    return path


def _lines(folder: Path, port: int) -> list[str]:
    return [
        "ListenAddress 127.0.0.1",
        f"Port {port}",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        f"PidFile {folder}/pid",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "UsePAM no",
        *_environment(),
    ]


def _environment() -> list[str]:
    """What a machine behind a proxy of its own would have for every login."""
    own = [f'"{key}={value}"' for key, value in os.environ.items() if key.startswith(("SSL_CERT_", "UV_"))]
    return [f"SetEnv {' '.join(own)}"] if own else []


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _with_sbin(path: str) -> str:
    return path if "/usr/sbin" in path.split(":") else f"{path}:/usr/sbin"


__all__ = ["Sshd", "Unavailable", "make_key", "make_sshd"]
