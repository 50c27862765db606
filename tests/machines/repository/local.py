"""The local package repositories of test machines: made once into the test cache, signed, mounted at /srv/repository.

Each lies where its real one lies below its server's name, so that a stack's override is a change of the beginning:

    cuda/debian13/x86_64/                   NVIDIA's driver, flat             key: 8793F200.pub in that folder
    libnvidia-container/stable/deb/amd64/   the container toolkit, flat       key: libnvidia-container/gpgkey
    docker/linux/debian/                    Docker, suite trixie, stable      key: docker/linux/debian/gpg
    debian/                                 what Debian itself offers, flat; machines know it already

and, for Enterprise Linux, in another folder that is mounted at the same place:

    cuda/rhel9/x86_64/                      key: D42D0685.pub in that folder
    libnvidia-container/stable/rpm/x86_64/  key: libnvidia-container/gpgkey
    docker/linux/rhel/9/x86_64/stable/      key: docker/linux/rhel/gpg
    rocky/                                  what the distribution itself offers; machines know it already

Machines see them at file:/srv/repository, and where systemd runs at `kinds.REPOSITORY_ADDRESS` as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.machines.engine import Engine, cache_folder
from tests.machines.image import alone
from tests.machines.kinds import ROCKY_9_SERVER
from tests.machines.repository import docker_ce, driver, enterprise, toolkit
from tests.machines.repository.debian import write_index, write_package
from tests.machines.repository.programs import FOLDER
from tests.machines.repository.redhat import Repository, write_repositories
from tests.machines.repository.signing import Key

CUDA = "cuda/debian13/x86_64"
TOOLKIT = "libnvidia-container/stable/deb/amd64"
DOCKER = "docker/linux/debian"
DEBIAN = "debian"
KEY_FILES = {
    CUDA: f"{CUDA}/8793F200.pub",
    TOOLKIT: "libnvidia-container/gpgkey",
    DOCKER: f"{DOCKER}/gpg",
    DEBIAN: f"{DEBIAN}/key.asc",
    enterprise.CUDA: f"{enterprise.CUDA}/D42D0685.pub",
    enterprise.TOOLKIT: "libnvidia-container/gpgkey",
    enterprise.DOCKER: "docker/linux/rhel/gpg",
    enterprise.ROCKY: f"{enterprise.ROCKY}/key.asc",
}
"""Where the key of each repository is offered, below the same address."""
SUITE = "trixie"
PROBE = "probe.tar"
"""The root of an image for test containers: busybox, and links of the programs that nvidia-smi's stand-in uses."""
UNUSED_S = 24 * 3600.0
"""After which another recipe's repositories go; machines of another test process may have them mounted."""


@dataclass(frozen=True)
class LocalRepository:
    """The repositories: `served` is what machines see, `fingerprints` of their keys by the repository's folder."""

    served: Path
    fingerprints: dict[str, str]

    def key(self, repository: str) -> str:
        """The public key of one of them, ASCII-armored."""
        return (self.served / KEY_FILES[repository]).read_text()


def local_repository(engine: Engine) -> LocalRepository:
    """The repositories for Debian, made first where the cache does not have them (about a minute, then none).

    Raises:
        Unavailable: something they need is not to be had here.
    """
    return _cached("debian", lambda folder: _make_for_debian(engine, folder))


def enterprise_repository(engine: Engine) -> LocalRepository:
    """The same for Enterprise Linux.

    Raises:
        Unavailable: something they need is not to be had here.
    """
    return _cached("enterprise", lambda folder: _make_for_enterprise(engine, folder))


def _cached(name: str, make: Callable[[Path], None]) -> LocalRepository:
    with alone(f"repository-{name}"):
        folder = cache_folder() / f"repository-{name}-{_recipe()}"
        if not folder.exists():
            for old in cache_folder().glob("repository-*"):
                if time.time() - old.stat().st_mtime > UNUSED_S:
                    shutil.rmtree(old, ignore_errors=True)
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            make(new)
            new.rename(folder)
    os.utime(folder)
    return LocalRepository(folder / "served", json.loads((folder / "fingerprints.json").read_text()))


def _make_for_debian(engine: Engine, folder: Path) -> None:
    served = folder / "served"
    drivers = [package for version in driver.VERSIONS for package in driver.driver_packages(version)]
    toolkits = [package for version in toolkit.VERSIONS for package in toolkit.toolkit_packages(version)]
    pool = f"{DOCKER}/dists/{SUITE}/pool/stable/amd64"
    for place, packages in (
        (CUDA, [*drivers, *driver.other_packages()]),
        (DEBIAN, driver.distribution_packages()),
        (TOOLKIT, toolkits),
        (pool, docker_ce.more_packages()),
    ):
        (served / place).mkdir(parents=True)
        for package in packages:
            write_package(package, served / place)
    debs = docker_ce.fetched(engine)
    docker_ce.write_packages(debs, served / pool)
    docker_ce.write_probe(debs, served / PROBE)
    with _keys(folder, (CUDA, TOOLKIT, DOCKER, DEBIAN)) as keys:
        for repository, key in keys.items():
            suite = SUITE if repository == DOCKER else ""
            write_index(served / repository, key, label=_label(repository), suite=suite)


def _make_for_enterprise(engine: Engine, folder: Path) -> None:
    packages = enterprise.packages(docker_ce.fetched(engine))
    with _keys(folder, tuple(packages)) as keys:
        repositories = {
            name: Repository(its, keys[name], enterprise.modules() if name == enterprise.CUDA else "")
            for name, its in packages.items()
        }
        work = folder / "work"
        write_repositories(engine, ROCKY_9_SERVER.packages_image(engine), work, repositories)
        shutil.copytree(work / "served", folder / "served", dirs_exist_ok=True)
        shutil.rmtree(work)
    docker_ce.write_probe(docker_ce.fetched(engine), folder / "served" / PROBE)


@contextlib.contextmanager
def _keys(folder: Path, repositories: tuple[str, ...]) -> Iterator[dict[str, Key]]:
    """A new key for each vendor; the public ones lie where they are offered when the context ends."""
    made = {name: Key.make(folder / "keys" / name, name) for name in {_vendor(one) for one in repositories}}
    keys = {repository: made[_vendor(repository)] for repository in repositories}
    try:
        yield keys
        for repository, key in keys.items():
            (folder / "served" / KEY_FILES[repository]).write_bytes(key.public())
        (folder / "fingerprints.json").write_text(json.dumps({name: key.fingerprint for name, key in keys.items()}))
    finally:
        for key in made.values():
            key.end()


def _vendor(repository: str) -> str:
    return repository.split("/", 1)[0]


def _label(repository: str) -> str:
    """NVIDIA's is the one that its own preferences of apt, and Berth's, go by."""
    return "NVIDIA CUDA" if repository == CUDA else _vendor(repository)


def _recipe() -> str:
    """Changes with everything that the packages are made of."""
    sources = sorted([*FOLDER.iterdir(), *Path(__file__).parent.glob("*.py")])
    parts = [(path.name, path.read_bytes()) for path in sources]
    return hashlib.sha256(repr((parts, os.uname().release)).encode()).hexdigest()[:12]
