"""Whose package of the driver an installed one is, and the driver's version in the package's."""

from __future__ import annotations

import pytest

from berth.catalogue.drivers import packager, signing_key, upstream


@pytest.mark.parametrize(
    ("name", "version", "owner"),
    [
        ("nvidia-driver-580", "580.95.05-0ubuntu0.24.04.3", "ubuntu"),
        ("nvidia-utils-535-server", "535.183.06-0ubuntu1", "ubuntu"),
        ("linux-modules-nvidia-580-server-open-6.8.0-45-generic", "6.8.0-45.45", "ubuntu"),
        ("libnvidia-compute-550", "550.67-0ubuntu3", "ubuntu"),
        ("libnvidia-compute", "595.58.03-1ubuntu1", "nvidia"),
        ("libnvidia-compute-580", "580.126.09-1ubuntu1", "nvidia"),
        ("libnvidia-compute-580", "580.95.05-0ubuntu1", None),  # the same as in a development release of Ubuntu
        ("nvidia-kernel-dkms", "535.247.01-1~deb12u1", "debian"),
        ("nvidia-driver", "550.163.01-2", "debian"),
        ("nvidia-driver-cuda", "580.95.05-1", None),
        ("nvidia-driver-pinning-580", "580-1", None),
        ("nvidia-container-toolkit", "1.18.0-1", None),
        ("nvidia-driver-cuda", "3:580.95.05-1.el9", None),
        ("nvidia-settings", "510.47.03-0ubuntu4", None),  # Ubuntu's goes with NVIDIA's driver
        ("bash", "580.95.05-0ubuntu0.24.04.3", None),
    ],
)
def test_the_packager_is_told_by_name_and_version(name: str, version: str, owner: str | None) -> None:
    assert packager(name, version) == owner


@pytest.mark.parametrize(
    ("name", "version", "driver"),
    [
        ("libnvidia-compute-580", "580.95.05-0ubuntu1", "580.95.05"),
        ("nvidia-driver-cuda", "3:580.95.05-1.el9", "580.95.05"),
        ("nvidia-kernel-dkms", "535.247.01-1~deb12u1", "535.247.01"),
        ("nvidia-kernel-open-dkms", "575.51-1", "575.51"),
        ("libcuda1", "580.95.05-1", "580.95.05"),
        ("firmware-nvidia-gsp", "580.95.05-1", "580.95.05"),
        ("nvidia-container-toolkit", "1.18.0-1", None),
        ("libcudnn9", "900.1.1-1", None),
    ],
)
def test_the_drivers_own_version_is_in_the_packages(name: str, version: str, driver: str | None) -> None:
    assert upstream(name, version) == driver


def test_every_system_has_a_signing_key() -> None:
    assert signing_key("ubuntu") == "/var/lib/shim-signed/mok/MOK.der"
    assert signing_key("debian") == signing_key("rocky") == "/var/lib/dkms/mok.pub"
