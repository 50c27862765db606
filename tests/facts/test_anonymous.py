"""What is recorded of a machine tells nobody whose it is, and holds no secret, wherever one was planted."""

from __future__ import annotations

import hashlib
import json

import pytest

from berth.facts import HostFacts
from berth.facts.anonymous import anonymous
from berth.facts.model import Disk, FileFact, GpuProcess, PackageFact, UnitFact
from tests.facts.fixtures import MACHINES, recorded

PLANTED = [
    *("mirror.acme.com", "acme-agent"),
    *(
        "hunter2-planted",
        "kim-minsu",
        "gpu-box-7",
        "10.20.30.40",
        "fd12:3456:789a::7",
        "acme.internal",
        "corp-registry",
    ),
    *("52:54:00:aa:bb:cc", "4c4c4544-0042-3510-8053-b4c04f4e3132", "minsu@corp.com", "hf_abcdefghijklmnop"),
    "5e0a7f10-9999-8888-7777-123456789abc",
]


def file(content: str, owner: str = "root:root") -> FileFact:
    return FileFact(mode="0644", owner=owner, content=content, sha256=hashlib.sha256(content.encode()).hexdigest())


def planted() -> HostFacts:
    host = recorded("rtx5090-ubuntu2404")
    uuid = "GPU-5e0a7f10-9999-8888-7777-123456789abc"
    daemon = {
        "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": ["--token=hunter2-planted"]}},
        "insecure-registries": ["corp-registry.acme.internal:5000"],
        "proxies": {"http-proxy": "http://kim-minsu:hunter2-planted@10.20.30.40:3128"},
    }
    files = {
        "/etc/docker/daemon.json": file(json.dumps(daemon)),
        "/etc/apt/sources.list.d/mirror.sources": file(
            "Types: deb\nURIs: https://kim-minsu:hunter2-planted@apt.acme.internal/ubuntu "
            "https://mirror.corp-registry.io/x http://[fd12:3456:789a::7]/y "
            "https://download.docker.com/linux/ubuntu\nSuites: noble\n# minsu@corp.com\n"
            "URIs: http://mirror.acme.com/\n"
        ),
        "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env": file(
            "HF_TOKEN=hf_abcdefghijklmnop\npassword: hunter2-planted\n"
        ),
        "/etc/modprobe.d/kim-minsu.conf": file(
            "# 52:54:00:aa:bb:cc at gpu-box-7, 10.20.30.40\n", owner="kim-minsu:kim-minsu"
        ),
        "/etc/apt/preferences.d/own": file("Pin: origin mirror.acme.com\n"),
        "/etc/apt/keyrings/own.key": file("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2-planted\n"),
        "/etc/systemd/system/berth-prod-abc-chat.service": file("ExecStart=/home/kim-minsu/x\n"),
    }
    return host.model_copy(
        update={
            "user": "kim-minsu",
            "home": "/home/kim-minsu",
            "users": {
                "root": ("root",),
                "kim-minsu": ("docker", "kim-minsu", "acme.internal"),
                "gpu-box-7": ("users",),
            },
            "boot_id": "4c4c4544-0042-3510-8053-b4c04f4e3132",
            "gpus": tuple(gpu.model_copy(update={"uuid": uuid}) for gpu in host.gpus),
            "cdi": tuple(one.model_copy(update={"devices": ("0", uuid)}) for one in host.cdi),
            "gpu_processes": (GpuProcess(uuid=uuid, pid=1, memory=1, command="hunter2-planted"),),
            "disks": (*host.disks, Disk(mount="/home/kim-minsu/models", size=2, free=1)),
            "units": {**host.units, "berth-prod-abc-kim-minsu.service": UnitFact(active="active", enabled="enabled")},
            "files": files,
            "packages": {**host.packages, "acme-agent": PackageFact(version="1")},
            "unread": {"root": "sudo: user kim-minsu is not allowed on gpu-box-7"},
        }
    )


def test_nothing_planted_is_left() -> None:
    text = anonymous(planted(), ["gpu-box-7", "10.20.30.40"]).model_dump_json()
    assert [word for word in PLANTED if word in text] == []


def test_what_plans_and_operations_need_is_left() -> None:
    shown = anonymous(planted(), ["gpu-box-7"])
    real = planted()
    for same in ("os", "kernel", "driver", "memory", "cores", "pci_gpus", "sysctl", "gathered"):
        assert getattr(shown, same) == getattr(real, same), same
    assert (shown.user, shown.home) == ("user", "/home/user")
    assert shown.users == {"root": ("root",), "user": ("docker",)}
    assert shown.gpus[0].uuid == shown.cdi[0].devices[1], "a card has one name in all places"
    mirror = shown.files["/etc/apt/sources.list.d/mirror.sources"]
    assert mirror.content is not None
    assert "https://download.docker.com/linux/ubuntu\n" in mirror.content
    assert mirror.sha256 == hashlib.sha256(mirror.content.encode()).hexdigest()
    daemon = json.loads(shown.files["/etc/docker/daemon.json"].content or "")
    assert list(daemon) == ["runtimes"]
    assert any(disk.mount == "/home/user/models" for disk in shown.disks)


@pytest.mark.parametrize("machine", MACHINES)
def test_versions_are_no_addresses_and_recorded_machines_stay_as_they_are(machine: str) -> None:
    host = recorded(machine)
    shown = anonymous(host)
    for same in ("os", "kernel", "driver", "docker", "toolkit", "cdi", "packages", "units", "disks", "gpus"):
        assert getattr(shown, same) == getattr(host, same), same
    assert {path: file.content for path, file in shown.files.items()} == {
        path: file.content for path, file in host.files.items()
    }
