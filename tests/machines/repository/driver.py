"""Stand-ins for the packages of NVIDIA's CUDA repository for Debian, under their real names and with their real ways.

What is real: names, versions, dependencies among each other, files that a tool looks at (a kernel module that modinfo
reads, libraries with sonames, units), that a module is only built where the running kernel's headers are, and that
nothing is loaded before a reboot. What is not: the driver. Every summary begins with STAND-IN.
"""

from __future__ import annotations

import os

from tests.machines.repository.package import Content, Package
from tests.machines.repository.programs import daemon, library, module, script

VERSIONS = ("580.95.05", "580.105.08", "595.45.04")
"""Two of a branch, and one of a branch that must not be taken by those who want the other."""
CUDA = {"580": (13, 0), "595": (13, 2)}
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_SOURCE = """
dkms add nvidia/{version}
if ! dkms install nvidia/{version}; then
  echo "Module nvidia/{version} was not built for $(uname -r) (no headers); the package stays installed"
fi
"""
_REMOVE_SOURCE = """
dkms remove nvidia/{version} --all || :
if [ "${{1:-}}" != upgrade ] && [ -x /usr/lib/stand-in/kernel ]; then /usr/lib/stand-in/kernel unload; fi
"""
_PERSISTENCED_USER = """
if ! getent passwd nvidia-persistenced > /dev/null; then
  useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin nvidia-persistenced
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
"""
_RELOAD = """
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
"""
_STOP = """
if [ -d /run/systemd/system ]; then systemctl stop {unit} || :; fi
"""
_PINNED = (
    "*nvidia*",
    "libcuda1 libnvidia* firmware-nvidia* cuda-drivers* libxnvctrl* nvidia-*",
)


def driver_packages(version: str) -> list[Package]:
    """All packages of one version of the driver."""
    return [*_user_space(version), *_kernel_side(version), *_services(version), *_metas(version), *_pins(version)]


def other_packages() -> list[Package]:
    """What the same repository holds once."""
    empty = {"nvidia-driver-assistant": "0.24.43.03-1", "nvlsm": "2025.06.11-1"}
    return [Package(name=name, version=version, summary="does nothing") for name, version in empty.items()]


def _user_space(version: str) -> list[Package]:
    full, (major, minor) = f"{version}-1", CUDA[version.split(".", 1)[0]]
    cuda = major * 1000 + minor * 10
    driver = library("cuda.c", "libcuda.so.1", cuda)
    management = library("nvml.c", "libnvidia-ml.so.1", cuda, version=version)
    smi = script("nvidia-smi", version=version, cuda=f"{major}.{minor}")
    recording = f"/lib/firmware/nvidia/{version}/gsp_stand_in.bin"
    copy = f"mkdir -p {recording.rpartition('/')[0]}; cp /etc/stand-in/gpus.csv {recording} 2> /dev/null || :\n"
    return [
        Package(
            name="libcuda1",
            version=full,
            summary="CUDA driver library",
            files={f"{LIBRARIES}/libcuda.so.{version}": Content(driver)},
            after_install="ldconfig\n",
            after_removal="ldconfig\n",
        ),
        Package(
            name="libnvidia-ml1",
            version=full,
            summary="management library",
            files={f"{LIBRARIES}/libnvidia-ml.so.{version}": Content(management)},
            after_install="ldconfig\n",
            after_removal="ldconfig\n",
        ),
        Package(
            name="libnvidia-compute",
            version=full,
            summary="libraries for computing",
            depends=(f"libcuda1 (= {full})", f"libnvidia-ml1 (= {full})"),
        ),
        Package(
            name="firmware-nvidia-gsp",
            version=full,
            summary="firmware, and what the cards say in containers",
            files={f"/lib/firmware/nvidia/{version}/gsp_ga10x.bin": Content(b"stand-in\n")},
            after_install=copy,
            before_removal=f"rm -f {recording}\n",
        ),
        Package(
            name="nvidia-driver-cuda",
            version=full,
            summary="the driver for computing alone",
            depends=(f"libnvidia-compute (= {full})", f"nvidia-persistenced (= {full})"),
            files={"/usr/bin/nvidia-smi": Content(smi, 0o755)},
        ),
    ]


def _kernel_side(version: str) -> list[Package]:
    full = f"{version}-1"

    def source(name: str, licence: str, other: str) -> Package:
        files = {f"/usr/src/nvidia-{version}/nvidia.ko": Content(module(version, licence))}
        return Package(
            name=name,
            version=full,
            summary=f"kernel module, {licence}",
            depends=("dkms", f"nvidia-kernel-support (= {full})", f"firmware-nvidia-gsp (= {full})"),
            provides=(f"nvidia-kernel-{version}",),
            conflicts=(other,),
            files=files,
            after_install=_SOURCE.format(version=version),
            before_removal=_REMOVE_SOURCE.format(version=version),
        )

    return [
        Package(
            name="nvidia-kernel-support",
            version=full,
            summary="settings of the kernel module",
            files={"/usr/lib/modprobe.d/nvidia.conf": Content(b"# stand-in: options of the module\n")},
        ),
        source("nvidia-kernel-open-dkms", "Dual MIT/GPL", "nvidia-kernel-dkms"),
        source("nvidia-kernel-dkms", "NVIDIA", "nvidia-kernel-open-dkms"),
    ]


def _services(version: str) -> list[Package]:
    full = f"{version}-1"
    persistenced = daemon("nvidia-persistenced", "nvidia-persistenced.pid", "-DSOCKET")
    fabric = daemon("nvidia-fabricmanager", "nv-fabricmanager.pid")
    unit = script("nvidia-fabricmanager.service", version=version)
    return [
        Package(
            name="nvidia-persistenced",
            version=full,
            summary="keeps the driver's state",
            files={
                "/usr/bin/nvidia-persistenced": Content(persistenced, 0o755),
                "/usr/lib/systemd/system/nvidia-persistenced.service": Content(script("nvidia-persistenced.service")),
            },
            after_install=_PERSISTENCED_USER,
            before_removal=_STOP.format(unit="nvidia-persistenced.service"),
            after_removal=_RELOAD,
        ),
        Package(
            name="nvidia-fabricmanager",
            version=full,
            summary="starts NVSwitches; of exactly the driver's version",
            provides=(f"nvidia-fabricmanager-{version.split('.', 1)[0]} (= {full})",),
            files={
                "/usr/bin/nv-fabricmanager": Content(fabric, 0o755),
                "/usr/lib/systemd/system/nvidia-fabricmanager.service": Content(unit),
                "/usr/share/nvidia/nvswitch/fabricmanager.cfg": Content(b"# stand-in\n"),
            },
            after_install=_RELOAD,
            before_removal=_STOP.format(unit="nvidia-fabricmanager.service"),
            after_removal=_RELOAD,
        ),
    ]


def _metas(version: str) -> list[Package]:
    full = f"{version}-1"
    with_open = (f"nvidia-driver (= {full})", f"nvidia-kernel-open-dkms (= {full})")
    return [
        Package(
            name="nvidia-driver",
            version=full,
            summary="the whole driver",
            depends=(f"nvidia-driver-cuda (= {full})", f"nvidia-kernel-{version}"),
        ),
        Package(name="nvidia-open", version=full, summary="driver with open modules", depends=with_open),
        Package(
            name="cuda-drivers",
            version=full,
            summary="driver with proprietary modules",
            depends=(f"nvidia-driver (= {full})", f"nvidia-kernel-dkms (= {full})"),
        ),
    ]


def _pins(version: str) -> list[Package]:
    """One for the exact version, and one for its branch, which the newest of the branch brings."""
    branch = version.split(".", 1)[0]

    def pinning(name: str, pattern: str) -> Package:
        stanzas = [f"Package: {names}\nPin: version {pattern}\nPin-Priority: 1000\n" for names in _PINNED]
        return Package(
            name=f"nvidia-driver-pinning-{name}",
            version=f"{name}-1",
            summary=f"keeps the driver at {name}",
            provides=("nvidia-driver-pinning",),
            conflicts=("nvidia-driver-pinning",),
            files={"/etc/apt/preferences.d/nvidia-driver-pinning": Content("\n".join(stanzas).encode())},
            configuration=("/etc/apt/preferences.d/nvidia-driver-pinning",),
        )

    newest = [other for other in VERSIONS if other.startswith(f"{branch}.")][-1]
    return [pinning(version, f"{version}*"), *([pinning(branch, f"{branch}.*")] if version == newest else [])]


def distribution_packages() -> list[Package]:
    """What the distribution itself would offer beside its own: the running kernel's headers, and dkms."""
    kernel = os.uname().release
    built = "if command -v dkms > /dev/null; then dkms autoinstall || :; fi\n"
    link = f"mkdir -p /lib/modules/{kernel}\nln -sfn /usr/src/linux-headers-{kernel} /lib/modules/{kernel}/build\n"
    headers = Package(
        name=f"linux-headers-{kernel}",
        version="1-1",
        summary="headers of the running kernel",
        files={f"/usr/src/linux-headers-{kernel}/Makefile": Content(b"# stand-in\n")},
        after_install=link + built,
        before_removal=f"rm -f /lib/modules/{kernel}/build\n",
    )
    return [
        headers,
        Package(name="linux-headers-amd64", version="1-1", summary="newest headers", depends=(headers.name,)),
        Package(
            name="dkms",
            version="3.2.2-1",
            summary="builds modules",
            depends=("kmod",),
            files={"/usr/sbin/dkms": Content(script("dkms"), 0o755)},
        ),
        Package(
            name="stand-in-half-configured",
            version="1-1",
            summary="fails to be configured the first time",
            after_install="if mkdir /var/lib/stand-in-failed 2> /dev/null; then echo 'failing once' >&2; exit 1; fi\n",
        ),
    ]
