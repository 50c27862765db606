"""The rows of operating systems: complete, each with an origin, and with the names of their packagers."""

import re
from typing import get_args

import pytest

from berth.catalogue import operating_systems
from berth.catalogue.operating_systems import Owner, System, _document, all_systems, find

OWNERS = get_args(Owner)


@pytest.mark.parametrize(
    ("identity", "version", "expected"),
    [
        ("ubuntu", "22.04", "ubuntu-22.04"),
        ("ubuntu", "26.04", "ubuntu-26.04"),
        ("debian", "13", "debian-13"),
        ("debian", "13.2", "debian-13"),
        ("rocky", "9.4", "rhel-9"),
        ("rhel", "10.0", "rhel-10"),
        ("ubuntu", "20.04", None),
        ("debian", "1", None),
        ("fedora", "42", None),
    ],
)
def test_a_release_is_found_by_its_own_words(identity: str, version: str, expected: str | None):
    found = find(identity, version)
    assert (found.id if found else None) == expected


@pytest.mark.parametrize("system", all_systems(), ids=lambda system: system.id)
def test_a_system_has_signed_repositories(system: System):
    for owner in OWNERS:
        for architecture in ("x86_64", "aarch64"):
            found = system.repository(owner, architecture)
            assert found is not None
            assert "{" not in found.uri + found.key + found.suite
            assert found.uri.startswith("https://")
            assert found.key.startswith("https://")
            assert found.fingerprint is None or re.fullmatch("[0-9A-F]{40}", found.fingerprint)
            assert bool(found.suite) == (system.manager == "apt")
        assert system.repository(owner, "ppc64le") is None


def test_one_key_alone_has_no_fingerprint_to_compare_with():
    without = {
        system.id
        for system in all_systems()
        for owner in OWNERS
        if (found := system.repository(owner, "x86_64")) and found.fingerprint is None
    }
    assert without == {"rhel-10"}


def test_every_part_names_a_source():
    document = _document()
    named = [
        row["source"]
        for part in ("keys", "repositories", "drivers", "newest_headers")
        for row in document[part].values()
    ]
    named += [source for family in document["families"].values() for source in family["source"].values()]
    named += [row["source"] for driver in document["drivers"].values() for row in driver["rows"] if "source" in row]
    assert set(named) <= set(document["sources"])


@pytest.mark.parametrize(
    ("asked", "packages", "others"),
    [
        (
            "ubuntu-24.04 580 open",
            "libnvidia-compute-580 nvidia-dkms-580-open nvidia-utils-580 nvidia-compute-utils-580",
            "nvidia-driver-pinning-580 nvidia-fabricmanager",
        ),
        (
            "ubuntu-22.04 570.211.01 proprietary",
            "libnvidia-compute-570 nvidia-dkms-570 nvidia-utils-570 nvidia-compute-utils-570",
            "nvidia-driver-pinning-570.211.01 nvidia-fabricmanager-570",
        ),
        (
            "ubuntu-26.04 595 open",
            "libnvidia-compute nvidia-dkms-open nvidia-persistenced",
            "nvidia-driver-pinning-595 nvidia-fabricmanager",
        ),
        (
            "debian-13 580 open",
            "nvidia-driver-cuda nvidia-kernel-open-dkms nvidia-persistenced",
            "nvidia-driver-pinning-580 nvidia-fabricmanager",
        ),
        (
            "rhel-9 580 open",
            "nvidia-driver-cuda kmod-nvidia-open-dkms nvidia-persistenced",
            "nvidia-driver:580-open nvidia-fabricmanager",
        ),
        (
            "rhel-10 580 open",
            "nvidia-driver-cuda kmod-nvidia-open-dkms nvidia-persistenced",
            "nvidia-fabricmanager",
        ),
    ],
)
def test_packages_of_a_driver(asked: str, packages: str, others: str):
    system, wanted, flavour = asked.split()
    row = next(row for row in all_systems() if row.id == system)
    driver = row.driver(
        int(wanted.split(".")[0]), "open" if flavour == "open" else "proprietary", wanted if "." in wanted else None
    )
    assert driver is not None
    assert driver.packages == tuple(packages.split())
    assert [name for name in (driver.pinning, driver.stream, driver.fabric_manager) if name] == others.split()


def test_a_flavour_that_is_not_packaged_has_no_driver():
    assert all_systems()[-1].driver(580, "proprietary") is None


def test_headers_are_those_of_the_running_kernel():
    debian = operating_systems.find("debian", "13")
    assert debian is not None
    assert debian.headers("6.12.48+deb13-amd64") == ("linux-headers-6.12.48+deb13-amd64", "dkms", "linux-headers-amd64")


@pytest.mark.parametrize(
    ("system", "version", "kernel", "package"),
    [
        ("ubuntu", "22.04", "5.15.0-153-generic", "linux-headers-generic"),
        ("ubuntu", "22.04", "6.8.0-86-generic", "linux-headers-generic-hwe-22.04"),
        ("ubuntu", "24.04", "6.8.0-86-generic", "linux-headers-generic"),
        ("ubuntu", "24.04", "6.14.0-33-generic", "linux-headers-generic-hwe-24.04"),
        ("ubuntu", "24.04", "6.14.0-1015-aws", "linux-headers-aws"),
        ("ubuntu", "24.04", "6.6.87-self-made", None),
        ("debian", "13", "6.12.48+deb13-amd64", "linux-headers-amd64"),
        ("debian", "12", "6.1.0-40-cloud-amd64", "linux-headers-cloud-amd64"),
        ("debian", "12", "6.12.9+bpo-amd64", None),
        ("rocky", "9.4", "5.14.0-427.el9.x86_64", None),
    ],
)
def test_headers_of_later_kernels_come_with_them(system: str, version: str, kernel: str, package: str | None):
    known = find(system, version)
    assert known is not None
    later = [name for name in known.headers(kernel) if kernel not in name and name not in {"dkms", "kernel-headers"}]
    assert later == ([package] if package else [])
