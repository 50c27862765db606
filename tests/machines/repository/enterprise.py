"""The same stand-ins as NVIDIA, Docker and the distribution name them for Enterprise Linux 9.

Versions have the epoch and release that theirs have there. The driver's packages belong to module streams, so that
nothing is installed before one is enabled.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from tests.machines.repository import docker_ce, driver, toolkit
from tests.machines.repository.package import Content, Package
from tests.machines.repository.redhat import version_of

CUDA = "cuda/rhel9/x86_64"
TOOLKIT = "libnvidia-container/stable/rpm/x86_64"
DOCKER = "docker/linux/rhel/9/x86_64/stable"
ROCKY = "rocky"
NAMES = {
    "libcuda1": "nvidia-driver-cuda-libs",
    "libnvidia-ml1": "libnvidia-ml",
    "libnvidia-compute": "nvidia-driver-libs",
    "firmware-nvidia-gsp": "nvidia-kmod-common",
    "nvidia-kernel-support": "nvidia-modprobe",
    "nvidia-kernel-open-dkms": "kmod-nvidia-open-dkms",
    "nvidia-kernel-dkms": "kmod-nvidia-latest-dkms",
}
STREAMS = {
    "open-dkms": ("kmod-nvidia-latest-dkms", ""),
    "latest-dkms": ("kmod-nvidia-open-dkms", ""),
    "580-open": ("kmod-nvidia-latest-dkms", "580."),
    "580-dkms": ("kmod-nvidia-open-dkms", "580."),
    "595-open": ("kmod-nvidia-latest-dkms", "595."),
}
"""By stream: the package that is not in it, and how the versions in it begin."""


def packages(debian: Path) -> Mapping[str, Sequence[Package]]:
    """All of them by their repository's folder; `debian` holds the packages of Debian's Docker."""
    return {
        CUDA: _driver(),
        TOOLKIT: [package for version in toolkit.VERSIONS for package in toolkit.toolkit_packages(version)],
        DOCKER: _docker(debian),
        ROCKY: _distribution(),
    }


def modules() -> str:
    """The description of the driver's module streams."""
    documents = []
    for stream, (without, version) in STREAMS.items():
        its = [package for package in _driver() if package.name != without and f":{version}" in package.version]
        documents.append(
            {
                "document": "modulemd",
                "version": 2,
                "data": {
                    "name": "nvidia-driver",
                    "stream": stream,
                    "version": 20251101000000,
                    "context": "standin0",
                    "arch": "x86_64",
                    "summary": "STAND-IN",
                    "description": "STAND-IN",
                    "license": {"module": ["none"]},
                    "profiles": {"default": {"rpms": ["nvidia-driver-cuda"]}},
                    "artifacts": {"rpms": [_nevra(package) for package in its]},
                },
            }
        )
    return yaml.safe_dump_all(documents, explicit_start=True, explicit_end=True)


def _driver() -> list[Package]:
    made = [package for version in driver.VERSIONS for package in driver.driver_packages(version)]
    return [_renamed(package) for package in made if "pinning" not in package.name]


def _renamed(package: Package) -> Package:
    def named(text: str) -> str:
        name, space, rest = text.partition(" ")
        return NAMES.get(name, name) + space + re.sub(r"([0-9.]+)-1", r"3:\1-1.el9", rest)

    return replace(
        package,
        name=NAMES.get(package.name, package.name),
        version=f"3:{package.version}.el9",
        depends=tuple(map(named, package.depends)),
        provides=tuple(map(named, package.provides)),
        conflicts=tuple(map(named, package.conflicts)),
    )


def _nevra(package: Package) -> str:
    epoch, version, release = version_of(package.version)
    return f"{package.name}-{epoch or 0}:{version}-{release}.x86_64"


def _distribution() -> list[Package]:
    kernel = os.uname().release
    headers, dkms = (
        next(package for package in driver.distribution_packages() if package.name.startswith(name))
        for name in (f"linux-headers-{kernel}", "dkms")
    )
    version, _, rest = kernel.partition("-")
    number = f"{version}-{rest.replace('-', '_') or '1'}"
    return [
        replace(headers, name="kernel-devel", version=number, provides=(f"kernel-devel-{kernel}",)),
        Package(name="kernel-headers", version=number, summary="nothing"),
        Package(
            name="kernel-devel-matched",
            version=number,
            summary="headers of the newest kernel",
            depends=(f"kernel-devel (= {number})",),
            provides=(f"kernel-devel-matched-{kernel}",),
        ),
        replace(dkms, version="3.2.2-1.el9", depends=()),
        Package(name="epel-release", version="9-10.el9", summary="nothing; what EPEL has is here"),
        Package(
            name="python3-dnf-plugin-versionlock",
            version="4.3.0-1.el9",
            summary="nothing; the plugin is there",
            provides=("dnf-command(versionlock)",),
        ),
    ]


def _docker(debian: Path) -> list[Package]:
    versions = {"docker-ce": "3:26.1.5-1.el9", "docker-ce-cli": "1:26.1.5-1.el9", "containerd.io": "1.7.24-3.1.el9"}
    needs = {"docker-ce": ("docker-ce-cli", "containerd.io >= 1.6.24")}
    group = "getent group docker > /dev/null || groupadd --system docker\n"
    reload = "if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n"
    made = []
    for name, parts in docker_ce.PARTS.items():
        files, links = _contents(debian, parts)
        made.append(
            Package(
                name=name,
                version=versions[name],
                summary=f"Debian's {' and '.join(parts)} under another name",
                depends=needs.get(name, ()),
                files=files,
                links=links,
                after_install=group + reload if name == "docker-ce" else reload,
                before_removal="systemctl disable --now docker.service docker.socket || :\n"
                if name == "docker-ce"
                else "",
            )
        )
    plugins = {"docker-buildx-plugin": "0.29.1-1.el9", "docker-compose-plugin": "2.40.3-1.el9"}
    return [*made, *(Package(name=name, version=version, summary="nothing") for name, version in plugins.items())]


def _contents(debian: Path, parts: Sequence[str]) -> tuple[dict[str, Content], dict[str, str]]:
    files, links = {}, {}
    with tempfile.TemporaryDirectory() as made:
        for part in parts:
            subprocess.run(["dpkg-deb", "--extract", str(next(debian.glob(f"{part}_*.deb"))), made], check=True)
        for path in sorted(Path(made).rglob("*")):
            name = f"/{path.relative_to(made)}"
            if name.startswith(("/usr/share/", "/etc/init.d", "/etc/default")):
                continue
            if path.is_symlink():
                links[name] = str(path.readlink())
            elif path.is_file():
                files[name] = Content(path.read_bytes(), path.stat().st_mode & 0o777)
    return files, links
