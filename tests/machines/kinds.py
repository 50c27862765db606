"""The kinds of test machines that are reached over SSH, each an image made once.

Every one has Debian's own sshd and sudo, users for each way to become root, and no package source but the local
repository (`tests/machines/repository.py`), mounted at /srv/repository and, where systemd runs, also served at
`REPOSITORY_ADDRESS`. None has Docker, a driver or anything else that a stack would install.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.machines.engine import Engine
from tests.machines.image import DEBIAN_12, DEBIAN_13, MASKED, Layer, Root, layer_image, root_image

PASSWORD = "correct horse 'battery' $taple"
REPOSITORY_ADDRESS = "http://127.0.0.1:9980"
"""As the machines themselves see it."""
_FILES = Path(__file__).with_name("stand_in") / "machine"

_BASE = r"""
export DEBIAN_FRONTEND=noninteractive
printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' > /etc/apt/apt.conf.d/90small
apt-get update -qq
apt-get install -qq --yes openssh-server sudo tcsh {packages} > /dev/null
for user in free asks cannot; do useradd --create-home --shell /bin/bash "$user"; done
useradd --create-home --shell /usr/sbin/nologin shellless
useradd --create-home --shell /bin/tcsh odd
printf 'asks:%s\ncannot:%s\n' "{password}" "{password}" | chpasswd
printf 'free ALL=(ALL) NOPASSWD: ALL\nodd ALL=(ALL) NOPASSWD: ALL\nasks ALL=(ALL) ALL\n' > /etc/sudoers.d/berth-test
printf 'MaxStartups 100\nUseDNS no\n' > /etc/ssh/sshd_config.d/berth-test.conf
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
"""
_FOLDERS = r"""
mkdir -p /usr/lib/stand-in /boot /srv/repository /etc/stand-in
install -m 755 /files/update-initramfs /usr/sbin/update-initramfs
"""
_SYSTEMD = rf"""
for unit in {" ".join(MASKED)}; do ln -sfn /dev/null "/etc/systemd/system/$unit"; done
: > /etc/machine-id
install -m 755 /files/kernel /usr/lib/stand-in/kernel
install -m 644 /files/stand-in-kernel.service /files/stand-in-repository.service /etc/systemd/system/
systemctl enable stand-in-kernel.service stand-in-repository.service
systemctl disable apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer 2> /dev/null || :
update-initramfs
"""
_POD = r"""
install -m 755 /files/pod-start /start.sh
"""
_ENTERPRISE = r"""
mkdir -p /usr/lib/stand-in/debian /etc/yum.repos.d
mv /usr/bin/apt* /usr/bin/dpkg* /usr/lib/stand-in/debian/
mv /usr/sbin/update-initramfs /usr/bin/dracut
rm -rf /etc/apt /var/lib/apt
rpmbuild -bb --quiet --define '_rpmdir /tmp' --define '_rpmfilename release.rpm' /files/rocky-release.spec
rpm --install --replacefiles --nodeps /tmp/release.rpm
rm -rf /tmp/release.rpm /root/rpmbuild
install -m 644 /files/rocky.repo /etc/yum.repos.d/rocky.repo
printf '%s\n' '[main]' gpgcheck=1 installonly_limit=3 clean_requirements_on_remove=True best=True \
  module_platform_id=platform:el9 > /etc/dnf/dnf.conf
sed -i 's/^enabled *=.*/enabled = 0/' /etc/dnf/plugins/local.conf
"""
_DOCKER_NEEDS = "iptables libdevmapper1.02.1 libnftables1 libnfnetlink0 libseccomp2 adduser kmod gnupg"
"""What Debian's docker.io depends on; baked in, so that the local repository need not hold Debian's own packages."""

_ANSIBLE_NEEDS = "python3-apt python3-debian"
"""What Ansible's modules for apt want on the machine that ours are compared with theirs on; ours need nothing there."""


@dataclass(frozen=True)
class Kind:
    """A kind of machine; `packages` come from Debian's mirror when its image is made."""

    name: str
    root: Root
    packages: str
    setup: tuple[str, ...]
    systemd: bool = True

    def image(self, engine: Engine) -> str:
        """The name of its image, made first where it is not there.

        Raises:
            Unavailable: it cannot be made here.
        """
        stand_ins = Layer(name=self.name, setup="".join((_FOLDERS, *self.setup)), command=self._first, files=_FILES)
        return layer_image(engine, self.packages_image(engine), stand_ins)

    def packages_image(self, engine: Engine) -> str:
        """The same without stand-ins: what the distribution gives."""
        setup = _BASE.replace("{packages}", self.packages).replace("{password}", _in_quotes(PASSWORD))
        packages = Layer(name=f"{self.name}-packages", setup=setup, command=self._first)
        return layer_image(engine, root_image(engine, self.root), packages)

    @property
    def _first(self) -> tuple[str, ...]:
        return ("/lib/systemd/systemd",) if self.systemd else ("/start.sh",)


def _in_quotes(text: str) -> str:
    """As it stands between double quotes in a shell script."""
    return "".join(f"\\{letter}" if letter in '\\"$`' else letter for letter in text)


DEBIAN_13_SERVER = Kind("debian13", DEBIAN_13, f"{_DOCKER_NEEDS} {_ANSIBLE_NEEDS}", (_SYSTEMD,))
DEBIAN_12_SERVER = Kind("debian12", DEBIAN_12, f"systemd systemd-sysv dbus python3 {_DOCKER_NEEDS}", (_SYSTEMD,))
POD = Kind("pod", DEBIAN_12, "", (_POD,), systemd=False)
"""As a rented pod: no systemd, no Docker, its first process a script, the login root's."""
POD_WITH_PYTHON = Kind("pod-python", DEBIAN_12, "python3 libnuma1", (_POD,), systemd=False)
"""The same with a Python in its image, as those of providers have one, and what vLLM's CPU build wants of a system."""
ROCKY_9_SERVER = Kind(
    "rocky9",
    DEBIAN_13,
    f"dnf rpm dnf-plugins-core python3-systemd createrepo-c {_DOCKER_NEEDS}",
    (_SYSTEMD, _ENTERPRISE),
)
"""As far as a tool that asks /etc/os-release, dnf and rpm can tell: STAND-IN on a Debian 13, without apt and dpkg."""
