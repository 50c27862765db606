"""The local package repositories of test machines: made once into the test cache, signed, mounted at /srv/repository.

Each lies where its real one lies below its server's name, so that a stack's override is a change of the beginning:

    cuda/debian13/x86_64/            NVIDIA's driver, flat            key: KEY.pub in that folder
    libnvidia-container/stable/deb/amd64/   the container toolkit, flat      key: libnvidia-container/gpgkey
    docker/linux/debian/             Docker, suite trixie, stable     key: docker/linux/debian/gpg
    debian/                          what Debian itself offers (flat; machines know it already)

Machines see them at file:/srv/repository, and where systemd runs at `kinds.REPOSITORY_ADDRESS` as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.machines.engine import Engine, cache_folder
from tests.machines.image import alone
from tests.machines.repository import docker_ce, driver, toolkit
from tests.machines.repository.debian import write_index, write_package
from tests.machines.repository.programs import FOLDER
from tests.machines.repository.signing import Key

CUDA = "cuda/debian13/x86_64"
TOOLKIT = "libnvidia-container/stable/deb/amd64"
DOCKER = "docker/linux/debian"
DEBIAN = "debian"
PROBE = "probe.tar"
"""The root of an image for test containers: busybox, and links of the programs that nvidia-smi's stand-in uses."""
SUITE = "trixie"
UNUSED_S = 24 * 3600.0
"""After which another recipe's repositories go; machines of another test process may have them mounted."""
KEY_FILES = {
    CUDA: f"{CUDA}/8793F200.pub",
    TOOLKIT: "libnvidia-container/gpgkey",
    DOCKER: f"{DOCKER}/gpg",
    DEBIAN: f"{DEBIAN}/key.asc",
}


@dataclass(frozen=True)
class LocalRepository:
    """The repositories: `served` is what machines see, `fingerprints` of their keys by the repository's folder."""

    served: Path
    fingerprints: dict[str, str]

    def key(self, repository: str) -> str:
        """The public key of one of them, ASCII-armored."""
        return (self.served / KEY_FILES[repository]).read_text()


def local_repository(engine: Engine) -> LocalRepository:
    """The repositories, made first where the cache does not have them (about two minutes, then none).

    Raises:
        Unavailable: something they need is not to be had here.
    """
    with alone("repository"):
        folder = cache_folder() / f"repository-{_recipe()}"
        if not folder.exists():
            for old in cache_folder().glob("repository-*"):
                if time.time() - old.stat().st_mtime > UNUSED_S:
                    shutil.rmtree(old, ignore_errors=True)
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            _make(engine, new)
            new.rename(folder)
    os.utime(folder)
    return LocalRepository(folder / "served", json.loads((folder / "fingerprints.json").read_text()))


def _make(engine: Engine, folder: Path) -> None:
    served = folder / "served"
    for repository in KEY_FILES:
        (served / repository).mkdir(parents=True)
    for package in (
        *(p for version in driver.VERSIONS for p in driver.driver_packages(version)),
        *driver.other_packages(),
    ):
        write_package(package, served / CUDA)
    for package in driver.distribution_packages():
        write_package(package, served / DEBIAN)
    for version in toolkit.VERSIONS:
        for package in toolkit.toolkit_packages(version):
            write_package(package, served / TOOLKIT)
    pool = served / DOCKER / "dists" / SUITE / "pool/stable/amd64"
    pool.mkdir(parents=True)
    debs = docker_ce.fetched(engine)
    docker_ce.write_packages(debs, pool)
    for package in docker_ce.more_packages():
        write_package(package, pool)
    docker_ce.write_probe(debs, served / PROBE)
    _sign(folder)


def _sign(folder: Path) -> None:
    fingerprints = {}
    for repository, file in KEY_FILES.items():
        key = Key.make(folder / "keys" / repository.split("/", 1)[0], repository.split("/", 1)[0])
        try:
            suite = SUITE if repository == DOCKER else ""
            write_index(folder / "served" / repository, key, origin=repository.split("/", 1)[0], suite=suite)
            (folder / "served" / file).write_bytes(key.public())
        finally:
            key.end()
        fingerprints[repository] = key.fingerprint
    (folder / "fingerprints.json").write_text(json.dumps(fingerprints))


def _recipe() -> str:
    """Changes with everything that the packages are made of."""
    sources = sorted([*FOLDER.iterdir(), *Path(__file__).parent.glob("*.py")])
    parts = [(path.name, path.read_bytes()) for path in sources]
    return hashlib.sha256(repr((parts, os.uname().release)).encode()).hexdigest()[:12]
