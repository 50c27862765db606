"""A test machine with Debian's own sshd and sudo, and a user for each way to become root there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from berth.provider.connection.settings import SshSettings
from tests.machines.engine import Unavailable
from tests.machines.machine import Machine
from tests.sshd.server import make_key

PASSWORD = "correct horse 'battery' $taple"
_SETUP = r"""
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends openssh-server sudo tcsh > /dev/null
for user in free asks cannot; do useradd --create-home --shell /bin/bash "$user"; done
useradd --create-home --shell /usr/sbin/nologin shellless
useradd --create-home --shell /bin/tcsh odd
printf 'asks:%s\ncannot:%s\n' "$2" "$2" | chpasswd
printf 'free ALL=(ALL) NOPASSWD: ALL\nodd ALL=(ALL) NOPASSWD: ALL\nasks ALL=(ALL) ALL\n' > /etc/sudoers.d/berth-test
for home in /root /home/free /home/asks /home/cannot /home/shellless /home/odd; do
  mkdir -p "$home/.ssh"
  printf '%s\n' "$1" > "$home/.ssh/authorized_keys"
  chown -R --reference="$home" "$home/.ssh"
done
systemctl restart ssh
"""


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

    def settings(self, user: str, password: str | None = None) -> SshSettings:
        """How the provider reaches it as one of its users."""
        plain = {"host": self.address, "user": user, "sudo_password": password}
        return SshSettings.model_validate({**plain, "host_key": self.host_key, "key_file": str(self.key)})


def with_sshd(machine: Machine, folder: Path) -> SshMachine:
    """Sets a machine up.

    Raises:
        Unavailable: it gets no packages.
    """
    key = make_key(folder / "client")
    public = key.with_suffix(".pub").read_text().strip()
    done = machine.run(["sh", "-euc", _SETUP, "setup", public, PASSWORD], timeout_s=300)
    if done.code != 0:
        raise Unavailable(f"a machine with sshd and sudo: {done.err.strip() or done.out.strip()}")
    address = machine.engine.out("inspect", "--format", "{{.NetworkSettings.IPAddress}}", machine.name)
    host_key = machine.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).out.strip()
    return SshMachine(machine, key, address, host_key)
