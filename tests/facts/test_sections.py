"""What the gathering reads out of answers of machines that are not here: GPUs, drivers, Docker, CDI, rpm, boot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berth.facts import HostFacts
from berth.facts.gathering import parse

BASE = {
    "login": "ubuntu\n/home/ubuntu\n",
    "login_uid": "1000",
    "os": 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nID_LIKE=debian\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    "uname": "6.8.0-86-generic x86_64",
    "systemd": "yes",
    "memory": "MemTotal:       131072 kB",
    "cores": "32",
    "managers": "apt",
    "end": "",
}


def facts(**sections: str) -> HostFacts:
    """A machine whose answer has these sections beside the plain ones."""
    return parse("".join(f"\n\x1eberth {name}\n{text}\n" for name, text in {**sections, **_rest(sections)}.items()))


def _rest(sections: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in BASE.items() if name not in sections}


# Two cards of nvidia-smi dumps: GeForce has neither ECC nor MIG.
GEFORCE = (
    "0, GPU-1, NVIDIA GeForce RTX 5090, 32607, 2, 12.0, Enabled, "
    "575.00, 575.00, 400.00, 600.00, [N/A], [N/A], 580.95.05"
)
HOPPER = (
    "1, GPU-2, NVIDIA H100 80GB HBM3, 81559, 4, 9.0, Disabled, "
    "700.00, 700.00, 200.00, 700.00, Enabled, Disabled, 570.172.08"
)


def test_cards_as_the_driver_reports_them() -> None:
    found = facts(gpus=f"{GEFORCE}\n{HOPPER}\nstatus 0")
    first, second = found.gpus
    assert (first.name, first.memory, first.compute_capability) == ("NVIDIA GeForce RTX 5090", 32607 * 2**20, (12, 0))
    assert (first.ecc, first.mig, first.persistence, first.power_limit) == (None, None, True, 575.0)
    assert (second.ecc, second.mig, second.persistence) == (True, False, False)
    assert found.driver.packages == "580.95.05", "without a library on disk it is what nvidia-smi says"
    assert found.driver.cuda == "13.0"
    assert found.unread == {}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nstatus 9",
            "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        ),
        ("status 124", "nvidia-smi: ended with status 124"),
    ],
)
def test_a_driver_that_does_not_answer_is_told_apart_from_no_cards(said: str, why: str) -> None:
    found = facts(gpus=said)
    assert found.gpus == ()
    assert found.unread["gpus"] == why


def test_cards_on_the_bus_without_a_driver_and_switches_beside_them() -> None:
    found = facts(pci="0000:18:00.0 0x030200 0x2330 nvidia\n0000:01:00.0 0x040300 0x22ba\n0000:07:00.0 0x068000 0x22a3")
    assert [(gpu.device, gpu.driver) for gpu in found.pci_gpus] == [("2330", "nvidia")]
    assert found.driver.nvswitch
    assert [gpu.driver for gpu in facts(pci="0000:01:00.0 0x030000 0x2b85").pci_gpus] == [None]


FABRIC = "    Fabric\n        State                             : {}\n        Status                            : {}\n"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([("Completed", "Success")] * 2, "completed"),
        ([("Completed", "Success"), ("In Progress", "N/A")], "in progress"),
        ([("Completed", "Unknown Error")], "completed: Unknown Error"),
    ],
)
def test_the_fabric_is_as_its_worst_card(states: list[tuple[str, str]], expected: str) -> None:
    assert facts(fabric="".join(FABRIC.format(*state) for state in states)).driver.fabric == expected
    assert facts().driver.fabric is None


def test_processes_on_cards() -> None:
    rows = "GPU-1\t4711\t21000\tVLLM::EngineCor\t/system.slice/berth-x-1.service\t/srv/logs/a.log\n-\t9\t0\tpython\t\t"
    first, second = facts(gpu_processes=rows).gpu_processes
    assert (first.uuid, first.pid, first.memory, first.output) == ("GPU-1", 4711, 21000 * 2**20, "/srv/logs/a.log")
    assert (second.uuid, second.pid, second.memory) == ("", 9, 0)


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"module": "580.95.05", "loaded": "580.95.05", "license": "Dual MIT/GPL"}, ("580.95.05", "580.95.05", "open")),
        ({"module": "580.95.05", "license": "NVIDIA"}, ("580.95.05", None, "proprietary")),
        ({"loaded": "570.124.06"}, (None, "570.124.06", None)),
        ({}, (None, None, None)),
    ],
)
def test_on_disk_and_loaded_are_two_things(sections: dict[str, str], expected: tuple[Any, ...]) -> None:
    driver = facts(**sections).driver
    assert (driver.installed, driver.loaded, driver.flavour) == expected


@pytest.mark.parametrize(
    ("said", "flavour"),
    [
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)",
            "open",
        ),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 09:54:57 UTC 2025", "proprietary"),
        ("", None),
    ],
)
def test_the_flavour_in_the_kernel_is_what_the_kernel_says(said: str, flavour: str | None) -> None:
    assert facts(loaded_as=said, license="NVIDIA").driver.loaded_flavour == flavour


def test_the_kernel_of_the_next_boot_and_its_module() -> None:
    driver = facts(next_kernel="6.8.0-90-generic", next_module="").driver
    assert (driver.next_kernel, driver.next_module) == ("6.8.0-90-generic", None)
    assert facts(next_kernel="6.8.0-90-generic", next_module="580.95.05").driver.next_module == "580.95.05"


@pytest.mark.parametrize(("said", "tool"), [("dracut", "dracut"), ("update-initramfs", "update-initramfs"), ("", None)])
def test_what_makes_the_initramfs(said: str, tool: str | None) -> None:
    assert facts(initramfs=said).initramfs == tool


def test_a_switch_of_nvlink_5_is_seen_without_a_driver() -> None:
    driver = facts(nvswitch="yes").driver
    assert (driver.nvswitch, driver.fabric) == (True, None)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (None, "not said"),
        ("n/a", "not said"),
        ("unknown", "not said"),
        ("completed", "up"),
        ("completed: Unknown Error", "down"),
        ("in progress", "down"),
    ],
)
def test_the_fabric_is_up_not_said_or_down(said: str | None, state: str) -> None:
    assert facts().driver.model_copy(update={"fabric": said}).fabric_state == state


def test_modules_built_for_each_kernel() -> None:
    dkms = (
        "built 580.95.05/6.8.0-86-generic/x86_64/module\nbuilt 580.95.05/6.8.0-90-generic/x86_64/module\n"
        "installed 6.8.0-86-generic-x86_64\nadded"
    )
    assert facts(dkms=dkms).driver.dkms == {"6.8.0-86-generic": "installed", "6.8.0-90-generic": "built"}
    assert facts(dkms="added").driver.dkms == {"": "added"}


@pytest.mark.parametrize(("said", "rejected"), [("3", True), ("0", False), ("unread", False)])
def test_a_rejected_module(said: str, rejected: bool) -> None:
    found = facts(rejected=said)
    assert found.driver.rejected is rejected
    assert ("driver.rejected" in found.unread) is (said == "unread")


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"secure_boot": "   6   0   0   0   1", "efi": "efi"}, "enabled"),
        ({"secure_boot": "   6   0   0   0   0", "efi": "efi"}, "disabled"),
        ({"secure_boot": "SecureBoot enabled\n", "efi": "efi"}, "enabled"),
        ({"secure_boot": "SecureBoot disabled\nPlatform is in Setup Mode\n", "efi": "efi"}, "disabled"),
        ({"secure_boot": "Cannot determine secure boot state.\n", "efi": "efi"}, "unknown"),
        ({"secure_boot": "This system doesn't support Secure Boot\n", "efi": "efi"}, "unknown"),
        ({"efi": "efi"}, "unknown"),
        ({}, "disabled"),
        ({"container": "docker"}, "unknown"),
    ],
)
def test_secure_boot(sections: dict[str, str], expected: str) -> None:
    assert facts(**sections).secure_boot == expected


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"pod": "abc123\n"}, "runpod"),
        ({"pod": "RUNPOD_POD_ID=abc123\ncontainer=docker", "container": "docker"}, "runpod"),
        ({"pod": "container=lxc"}, "lxc"),
        ({"container": "systemd-nspawn"}, "systemd-nspawn"),
        ({}, None),
    ],
)
def test_container(sections: dict[str, str], expected: str | None) -> None:
    assert facts(**sections).container == expected


def test_only_a_login_of_root_has_its_engines_kept_by_systemd() -> None:
    assert (facts().init, facts().systemd, facts().root) == ("supervisord", True, True)
    assert facts(login="root\n/root\n", login_uid="0").init == "systemd"
    refused = facts(login="me\n/home/me\nsudo: a password is required\n")
    assert (refused.root, refused.unread["root"]) == (False, "sudo: a password is required")


INFO = {
    "ServerVersion": "28.5.1",
    "CgroupDriver": "systemd",
    "DockerRootDir": "/var/lib/docker",
    "DefaultRuntime": "runc",
    "Runtimes": {"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}},
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}, {"Source": "cdi", "ID": "nvidia.com/gpu=all"}],
    "LiveRestoreEnabled": False,
    "ContainersRunning": 2,
}


def test_docker_and_what_it_knows() -> None:
    docker = facts(
        docker_path="/usr/bin/docker",
        docker_socket="root docker 660",
        docker=f"WARNING: No swap limit support\n{json.dumps(INFO)}",
        docker_client="Docker version 28.5.1, build e180ab8",
        groups="ubuntu docker",
        started="1700000100",
        toolkit_came="1700000200",
    ).docker
    assert (docker.client, docker.version, docker.running, docker.usable) == ("28.5.1", "28.5.1", 2, True)
    assert docker.runtimes == ("nvidia", "runc")
    assert docker.cdi_devices == ("nvidia.com/gpu=0", "nvidia.com/gpu=all")
    assert docker.detected is False, "the daemon started before the toolkit came"


@pytest.mark.parametrize(("groups", "usable"), [("ubuntu docker", True), ("ubuntu", False)])
def test_who_may_use_docker(groups: str, usable: bool) -> None:
    assert facts(docker_socket="root docker 660\nusable", groups=groups).docker.usable is usable


def test_a_daemon_that_this_login_may_not_ask() -> None:
    found = facts(
        login="me\n/home/me\nsudo: a password is required\n",
        docker_path="/snap/bin/docker",
        docker_socket="root docker 660",
        docker='permission denied\n{"ServerVersion":"","ServerErrors":["permission denied"]}',
    )
    assert found.docker.version is None
    assert found.docker.live_restore is None
    assert found.docker.snap
    assert "group docker" in found.unread["docker"]


CDI = (
    "file /var/run/cdi/nvidia.yaml\n"
    'kind: nvidia.com/gpu\n- name: "0"\n  name: all\nlibcuda.so.580.95.05\nhook create-symlinks\nhook update-ldcache\n'
    "file /etc/cdi/old.json\n"
    '{"kind":"nvidia.com/gpu","devices":[{"name":"0","containerEdits":{"hooks":[{"args":["nvidia-ctk","hook","chmod"]}]}}'
    '],"containerEdits":{"mounts":[{"hostPath":"/usr/lib/libcuda.so.570.1"}]}}\n'
    "file /etc/cdi/broken.json\n{\n"
)


def test_cdi_files_of_either_form() -> None:
    fresh, old, broken = facts(cdi=CDI).cdi
    assert (fresh.devices, fresh.driver, fresh.hooks) == (
        ("0", "all"),
        "580.95.05",
        ("create-symlinks", "update-ldcache"),
    )
    assert (old.kind, old.devices, old.driver, old.hooks) == ("nvidia.com/gpu", ("0",), "570.1", ("chmod",))
    assert (broken.kind, broken.devices) == ("", ())


DPKG = """\
docker-ce\t5:28.5.1-1\tamd64\thold\tok\tinstalled
libc6\t2.39\ti386\tinstall\tok\tinstalled
nvidia-dkms-580\t580.95.05-0ubuntu1\tamd64\tinstall\tok\thalf-configured
old\t1\tall\tdeinstall\tok\tconfig-files
broken\t1\tall\tinstall\treinstreq\tinstalled
never\t\tall\tunknown\tok\tnot-installed"""


def test_packages_of_dpkg() -> None:
    packages = facts(dpkg=DPKG).packages
    assert (packages["docker-ce"].version, packages["docker-ce"].held) == ("5:28.5.1-1", True)
    assert "libc6:i386" in packages
    states = {name: package.state for name, package in packages.items()}
    assert states["nvidia-dkms-580"] == "half-configured"
    assert states["old"] == "config-files"
    assert states["broken"] == "reinstreq"
    assert "never" not in packages


ROCKY = 'ID="rocky"\nVERSION_ID="9.6"\nID_LIKE="rhel centos fedora"\n'
RPM = """\
kernel-core\t0\t5.14.0-570.12.1.el9_6\tx86_64
kernel-core\t0\t5.14.0-570.49.1.el9_6\tx86_64
docker-ce\t3\t28.5.1-1.el9\tx86_64
nvidia-driver\t3\t580.95.05-1.el9\tx86_64
bash\t0\t5.1.8-9.el9\tx86_64"""
LOCKS = "# by hand\ndocker-ce-3:28.5.1-1.el9.*\n*nvidia*580*\n!bash-0:5.1.8-6.el9.*"


def test_packages_of_rpm_and_a_newer_kernel_that_waits() -> None:
    said = {"os": ROCKY, "managers": "dnf\napt", "rpm": RPM, "versionlock": LOCKS}
    found = facts(**said, uname="5.14.0-570.12.1.el9_6.x86_64 x86_64")
    assert found.package_manager == "dnf"
    assert found.packages["docker-ce"].version == "3:28.5.1-1.el9"
    assert {name for name, package in found.packages.items() if package.held} == {"docker-ce", "nvidia-driver"}
    assert found.packages["kernel-core-5.14.0-570.12.1.el9_6.x86_64"].version == "5.14.0-570.12.1.el9_6"
    assert found.reboot_required
    assert not facts(**said, uname="5.14.0-570.49.1.el9_6.x86_64 x86_64").reboot_required


def test_units_that_are_not_there_are_left_out() -> None:
    show = (
        "Id=docker.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nResult=success\n"
        "NeedDaemonReload=yes\n\nId=containerd.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n\n"
        "Id=nvidia-powerd.service\nLoadState=masked\nActiveState=inactive\nUnitFileState=masked\nNeedDaemonReload=no\n"
    )
    units = facts(units=show).units
    assert list(units) == ["docker.service", "nvidia-powerd.service"]
    assert (units["docker.service"].needs_reload, units["nvidia-powerd.service"].enabled) == (True, "masked")


def test_disks_that_are_real() -> None:
    df = (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
        "/dev/nvme0n1p2 1000 400 600 40% /\ntmpfs 50 0 50 0% /run\ntmpfs 64 0 64 0% /dev/shm\n"
        "/dev/loop3 10 10 0 100% /snap/core\noverlay 1000 400 600 40% /var/lib/docker/overlay2/a/merged\n"
        "tank/models 5000 1000 4000 20% /mnt/my models\n"
    )
    assert [disk.mount for disk in facts(disks=df).disks] == ["/", "/dev/shm", "/mnt/my models"]


def test_files_with_their_exact_content() -> None:
    about = (
        "644 root:root 3 /etc/docker/daemon.json\n644 root:root 4 /etc/apt/x\n600 root:root 9 /etc/secret\n644 a:b 0 /e"
    )
    found = facts(
        files=about,
        digests="aa  /etc/docker/daemon.json\nbb  /etc/apt/x\ncc  /e",
        contents="/etc/docker/daemon.json:{\n/etc/docker/daemon.json:}\n/etc/apt/x:a:b\n",
    )
    assert found.files["/etc/docker/daemon.json"].content == "{\n}", "its last line has no end"
    assert found.files["/etc/apt/x"].content == "a:b\n"
    assert found.files["/etc/secret"].content is None
    assert "files./etc/secret" in found.unread
    assert (found.files["/e"].content, found.files["/e"].mode) == ("", "0644")


def test_listening_ports() -> None:
    rows = "   0: 0100007F:1F40 00000000:0000 0A 0\n   1: 00000000000000000000000000000000:0016 0:0000 0A 0"
    assert facts(ports=rows).ports == (22, 8000)


@pytest.mark.parametrize(
    ("limits", "memory"),
    [("", 131072), ("\nmax", 131072), ("\n67108864", 65536), ("\n9223372036854771712", 131072)],
    ids=["a machine", "a container without a limit", "one with", "one without, of the first version"],
)
def test_a_container_has_the_memory_that_it_may_use(limits: str, memory: int) -> None:
    assert facts(memory=f"MemTotal:       131072 kB{limits}").memory == memory * 1024


def test_an_answer_that_is_not_understood_leaves_the_others_alone() -> None:
    found = facts(files="nonsense", cores="many", pci="0000:18:00.0 0x030200 0x2330 nvidia")
    assert found.files == {}
    assert "its answer is not understood" in found.unread["files"]
    assert [gpu.device for gpu in found.pci_gpus] == ["2330"]
    assert (found.cores, found.memory) == (1, 131072 * 1024)
