"""Docker's packages for Debian 13: Debian's own Docker and containerd, repacked under the names that Docker gives them.

So everything in them is real, of another version than the newest of Docker's repository, and the packages conflict with
Debian's as Docker's do. Buildx and Compose are empty packages of their name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.machines.engine import Engine, Unavailable, cache_folder
from tests.machines.image import BUILD_S, machine_image
from tests.machines.repository.debian import pack
from tests.machines.repository.package import Package

PARTS = {
    "docker-ce": ("docker.io",),
    "docker-ce-cli": ("docker-cli",),
    "containerd.io": ("containerd", "runc"),
}
"""Which of Debian's packages each is made of; the first gives its control files."""
BUSYBOX = "busybox-static"
"""For images of test containers."""
_DEPENDS = {
    "docker-ce": "docker-ce-cli, containerd.io, iptables, libc6, libdevmapper1.02.1, libsystemd0",
    "docker-ce-cli": "libc6",
    "containerd.io": "libc6, libseccomp2",
}
_CONFLICTS = {
    "docker-ce": "docker.io, docker-ce-cli (<< 5:0)",
    "docker-ce-cli": "docker.io, docker-cli",
    "containerd.io": "containerd, runc",
}
_FETCH = """
apt-get update -qq
cd /fetched
apt-get download -qq docker.io docker-cli containerd runc busybox-static
"""


def fetched(engine: Engine) -> Path:
    """A folder of Debian's own packages, downloaded once.

    Raises:
        Unavailable: no package mirror answers.
    """
    folder = cache_folder() / "docker-of-debian13"
    if not folder.exists():
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        argv = ["run", "--rm", "--volume", f"{new}:/fetched", machine_image(engine), "sh", "-euc", _FETCH]
        done = engine.run(*argv, timeout_s=BUILD_S)
        if done.returncode != 0:
            raise Unavailable(f"Debian's Docker: {done.stderr.decode(errors='replace')[-1000:]}")
        new.rename(folder)
    return folder


def write_packages(packages: Path, folder: Path) -> None:
    """Writes Docker's packages made of Debian's."""
    for name, parts in PARTS.items():
        with tempfile.TemporaryDirectory(dir=folder) as made:
            root = Path(made, name)
            archives = [next(packages.glob(f"{part}_*.deb")) for part in parts]
            for archive in archives:
                subprocess.run(["dpkg-deb", "--extract", str(archive), str(root)], check=True)
            subprocess.run(["dpkg-deb", "--control", str(archives[0]), str(root / "DEBIAN")], check=True)
            control = (root / "DEBIAN/control").read_text()
            version = _version(control)
            (root / "DEBIAN/control").write_text(_renamed(name, version))
            (root / "DEBIAN/md5sums").unlink(missing_ok=True)
            pack(root, folder / f"{name}_{version.replace(':', '%3a')}_amd64.deb")


def write_probe(packages: Path, archive: Path) -> None:
    """Writes the root of an image with a shell, for `docker import`."""
    with tempfile.TemporaryDirectory() as made, tarfile.open(archive, "w") as tar:
        deb = next(packages.glob(f"{BUSYBOX}_*.deb"))
        subprocess.run(["dpkg-deb", "--extract", str(deb), made], check=True)
        tar.add(Path(made, "usr/bin/busybox"), "bin/busybox")
        for name in ("sh", "awk", "cat", "grep", "head", "id", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)


def more_packages() -> list[Package]:
    """What Docker's documentation installs as well."""
    return [
        Package(name="docker-buildx-plugin", version="0.29.1-1~debian.13~trixie", summary="nothing"),
        Package(name="docker-compose-plugin", version="2.40.3-1~debian.13~trixie", summary="nothing"),
    ]


def _version(control: str) -> str:
    found = re.search(r"^Version: ([0-9.]+)", control, re.MULTILINE)
    source = re.search(r"^Package: (\S+)", control, re.MULTILINE)
    if found is None or source is None:
        raise Unavailable(f"not a package's control file:\n{control}")
    if source[1] == "containerd":
        return f"{found[1]}-1~debian.13~trixie"
    return f"5:{found[1]}-1~debian.13~trixie"


def _renamed(name: str, version: str) -> str:
    said = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "Berth's tests <nobody@example.invalid>",
        "Depends": _DEPENDS[name],
        "Conflicts": _CONFLICTS[name],
        "Replaces": _CONFLICTS[name],
        "Description": f"STAND-IN: Debian's {' and '.join(PARTS[name])} under another name",
    }
    return "".join(f"{key}: {value}\n" for key, value in said.items())
