"""What leads a host to a package repository."""

from __future__ import annotations

from typing import Any

from pysequoia import Tsk

from berth.provider.operations.package_repository import PackageRepository, PackageRepositoryWant
from tests.provider.operations.tables.case import Case, Table, leashed, script

_CERT = Tsk.generate("a publisher of packages").extract_certificate()
KEY, FINGERPRINT = str(_CERT), _CERT.fingerprint.upper()

DOCKER = PackageRepositoryWant(
    host="box",
    manager="apt",
    name="docker",
    uris=["https://download.docker.com/linux/debian"],
    suites=["trixie"],
    components=["stable"],
    architectures=["amd64"],
    key=KEY,
    fingerprint=FINGERPRINT,
    obsolete=["/etc/apt/sources.list.d/docker.list"],
)
SOURCES = """\
Types: deb
URIs: https://download.docker.com/linux/debian
Suites: trixie
Components: stable
Architectures: amd64
Signed-By: /etc/apt/keyrings/docker.asc
"""
CANDIDATE = "/run/berth-repository-docker/docker.sources"
ADD = (
    script("_PUT", CANDIDATE, "0600", "", str(len(SOURCES))),
    leashed("_ADD_APT", "600", "/etc/apt/sources.list.d/docker.sources", CANDIDATE, "/etc/apt/keyrings/docker.asc"),
)
KEY_FILE = script("_PUT", "/etc/apt/keyrings/docker.asc", "0644", "", str(len(KEY)))

FLAT = PackageRepositoryWant(
    host="box",
    manager="apt",
    name="cuda-debian13",
    uris=["https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/"],
    suites=["/"],
    key_url="https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/8793F200.pub",
    fingerprint=FINGERPRINT,
)
FLAT_SOURCES = """\
Types: deb
URIs: https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/
Suites: /
Signed-By: /etc/apt/keyrings/cuda-debian13.asc
"""

FLAT_CANDIDATE = "/run/berth-repository-cuda-debian13/cuda-debian13.sources"

DRIVER = FLAT.model_copy(update={"label": "NVIDIA CUDA", "first": ["nvidia-*", "libnvidia-*"]})
PREFERENCES = """\
# Written by Berth: the distribution keeps its own packages.
Package: nvidia-* libnvidia-*
Pin: release l=NVIDIA CUDA
Pin-Priority: 600

Package: *
Pin: release l=NVIDIA CUDA
Pin-Priority: 100
"""
PIN_PATH = "/etc/apt/preferences.d/zz-berth-cuda-debian13"
PIN = script("_PUT", PIN_PATH, "0644", "", str(len(PREFERENCES)))
FLAT_ADD = (
    script("_PUT", FLAT_CANDIDATE, "0600", "", str(len(FLAT_SOURCES))),
    leashed(
        *("_ADD_APT", "600", "/etc/apt/sources.list.d/cuda-debian13.sources", FLAT_CANDIDATE),
        "/etc/apt/keyrings/cuda-debian13.asc",
    ),
)

TOOLKIT = PackageRepositoryWant(
    host="box",
    manager="dnf",
    name="nvidia-container-toolkit",
    uris=["https://nvidia.github.io/libnvidia-container/stable/rpm/$basearch"],
    key=KEY,
    fingerprint=FINGERPRINT,
    signed="metadata",
)
REPO = """\
[nvidia-container-toolkit]
name=nvidia-container-toolkit
baseurl=https://nvidia.github.io/libnvidia-container/stable/rpm/$basearch
enabled=1
gpgcheck=0
repo_gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-berth-nvidia-container-toolkit
"""
REPO_CANDIDATE = "/run/berth-repository-nvidia-container-toolkit/nvidia-container-toolkit.repo"


def but(want: PackageRepositoryWant, **update: Any) -> PackageRepositoryWant:
    return want.model_copy(update=update)


TABLE = Table(
    operation=PackageRepository(),
    cases=(
        Case(
            name="it is there", want=DOCKER, have=DOCKER, why="entry and key are as declared, nothing obsolete is left"
        ),
        Case(name="it is not there", want=DOCKER, have=None, commands=(KEY_FILE, *ADD)),
        Case(
            name="an earlier guide's entry is in the way",
            want=DOCKER,
            have=but(DOCKER, obsolete=[], entry="missing", fingerprint="missing"),
            commands=(script("_AWAY", "/etc/apt/sources.list.d/docker.list"), KEY_FILE, *ADD),
        ),
        Case(
            name="only an earlier guide's entry is too much",
            want=DOCKER,
            have=but(DOCKER, obsolete=[]),
            commands=(script("_AWAY", "/etc/apt/sources.list.d/docker.list"),),
        ),
        Case(name="the entry is of another suite", want=DOCKER, have=but(DOCKER, suites=["bookworm"]), commands=ADD),
        Case(name="the entry is switched off", want=DOCKER, have=but(DOCKER, entry="Enabled: no"), commands=ADD),
        Case(
            name="another key lies there",
            want=DOCKER,
            have=but(DOCKER, fingerprint="A" * 40),
            commands=(KEY_FILE, *ADD),
        ),
        Case(
            name="a newer edition of the same key is declared",
            want=DOCKER,
            have=but(DOCKER, key="an older edition"),
            commands=(KEY_FILE, *ADD),
        ),
        Case(
            name="a flat repository whose key lies there",
            want=FLAT,
            have=but(FLAT, entry="missing"),
            commands=FLAT_ADD,
        ),
        Case(
            name="one of which only some packages come first: apt is told before it knows the index",
            want=DRIVER,
            have=but(DRIVER, entry="missing", pin="missing"),
            commands=(PIN, *FLAT_ADD),
        ),
        Case(name="what comes first was edited", want=DRIVER, have=but(DRIVER, pin="other"), commands=(PIN,)),
        Case(
            name="nothing of it comes first any more",
            want=FLAT,
            have=but(FLAT, pin="other"),
            commands=(script("_REMOVE", PIN_PATH),),
        ),
        Case(
            name="taken away with what came first",
            want=None,
            have=DRIVER,
            commands=(
                script(
                    *("_REMOVE", "/etc/apt/sources.list.d/cuda-debian13.sources"),
                    *("/etc/apt/keyrings/cuda-debian13.asc", PIN_PATH),
                ),
            ),
        ),
        Case(name="nothing to take away", want=None, have=None, why="none of it is there"),
        Case(
            name="taken away",
            want=None,
            have=DOCKER,
            commands=(script("_REMOVE", "/etc/apt/sources.list.d/docker.sources", "/etc/apt/keyrings/docker.asc"),),
        ),
        Case(
            name="dnf: it is not there, and its metadata is what is signed",
            want=TOOLKIT,
            have=None,
            commands=(
                script(
                    *("_PUT", "/etc/pki/rpm-gpg/RPM-GPG-KEY-berth-nvidia-container-toolkit", "0644", ""),
                    str(len(KEY)),
                ),
                script("_PUT", REPO_CANDIDATE, "0600", "", str(len(REPO))),
                leashed("_ADD_DNF", "/etc/yum.repos.d/nvidia-container-toolkit.repo", REPO_CANDIDATE),
            ),
        ),
    ),
)
