"""A test machine with Debian's own sshd and sudo, and a user for each way to become root there."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from berth.provider.connection.settings import SshSettings
from tests.machines.engine import Engine
from tests.machines.kinds import Kind
from tests.machines.machine import Machine
from tests.ports import free_port
from tests.sshd.server import make_key


@dataclass(frozen=True)
class SshMachine:
    """A machine that lets `key` in as root and as users of its own.

    `free` and `odd` have sudo without a password, `asks` with one, `cannot` none; `shellless` has no login shell, `odd`
    one that is no POSIX sh.
    """

    machine: Machine
    key: Path
    address: str
    host_key: str
    port: int = 22

    def settings(self, user: str, password: str | None = None) -> SshSettings:
        """How the provider reaches it as one of its users."""
        plain = {"host": self.address, "port": self.port, "user": user, "sudo_password": password}
        return SshSettings.model_validate({**plain, "host_key": self.host_key, "key_file": str(self.key)})


HARDWARE = Path(__file__).resolve().parents[1] / "machines" / "recorded"
"""A folder for each type of machine: what it shows of its cards."""
_LET_IN = r"""
for home in /root /home/free /home/asks /home/cannot /home/shellless /home/odd; do
  mkdir -p "$home/.ssh"
  printf '%s\n' "$1" > "$home/.ssh/authorized_keys"
  chown -R --reference="$home" "$home/.ssh"
done
if [ -e /srv/repository/debian ] && [ -e /etc/apt ]; then
  printf 'Types: deb\nURIs: file:/srv/repository/debian\nSuites: ./\nSigned-By: /srv/repository/debian/key.asc\n' \
    > /etc/apt/sources.list.d/debian.sources
fi
cat /etc/ssh/ssh_host_ed25519_key.pub
"""
_OF_SYSTEMD = (
    *("--volume", "/var/lib/docker", "--volume", "/var/lib/containerd"),  # overlayfs does not lie on overlayfs
    *("--device-cgroup-rule", "c 195:* rwm"),  # or no container in there may be given the cards' device files
    *("--restart", "on-failure"),  # so that `systemctl reboot` within is one
)


def start(
    engine: Engine,
    kind: Kind,
    *,
    hardware: str = "none",
    repository: Path | None = None,
    image: str | None = None,
    port: int | None = None,
    options: Sequence[str] = (),
) -> SshMachine:
    """Starts a machine of a kind and lets a key in; the caller removes `.machine`. About two seconds.

    `hardware` is a folder of tests/machines/recorded, `repository` what is mounted at /srv/repository, `image` a copy
    of such a machine's disk, `options` further words for `docker run`. The address is a port of this machine's
    loopback, a free one or `port`, so it stays through reboots.

    Raises:
        Unavailable: the kind's image cannot be made here.
    """
    port = port or free_port()
    words = ["--hostname", kind.name, "--publish", f"127.0.0.1:{port}:22", *options]
    words += ["--volume", f"{HARDWARE / hardware}:/etc/stand-in:ro"]
    words += _OF_SYSTEMD if kind.systemd else ()
    words += () if repository is None else ("--volume", f"{repository}:/srv/repository:ro")
    machine = Machine.start(engine, image or kind.image(engine), *words, systemd=kind.systemd)
    try:
        key = _key()
        host_key = _let_in(machine, key.with_suffix(".pub").read_text().strip())
    except BaseException:
        machine.remove()
        raise
    return SshMachine(machine, key, "127.0.0.1", host_key, port)


def _let_in(machine: Machine, public: str) -> str:
    ran = machine.run(["sh", "-euc", _LET_IN, "let-in", public])
    if ran.code != 0:
        raise RuntimeError(f"{machine.name}: {ran.err.strip()}")
    return ran.out.strip()


@functools.cache
def _key() -> Path:
    """The key pair of all machines of this process."""
    folder = tempfile.mkdtemp(prefix="berth-machine-key-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_key(Path(folder, "client"))
