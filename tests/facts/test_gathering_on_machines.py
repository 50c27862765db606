"""The gathering on real machines over SSH: each way to become root, a machine without systemd, one with rpm."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest

from berth.facts import HostFacts
from berth.provider.connection.settings import OverSsh
from berth.provider.host import Host, Hosts, HostSettings
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import DEBIAN_13_SERVER, PASSWORD, POD, ROCKY_9_SERVER
from tests.sshd.fixtures import StartMachine, start_machine
from tests.sshd.machine import SshMachine

__all__ = ["machine_engine", "start_machine"]

pytestmark = pytest.mark.systemd

Login = Callable[..., Host]


@pytest.fixture
async def login() -> AsyncIterator[Login]:
    """Gives a machine as one of its users sees it."""
    made: list[Hosts] = []

    def as_user(there: SshMachine, user: str, password: str | None = None) -> Host:
        connection = OverSsh(ssh=there.settings(user, password))
        made.append(Hosts({"box": HostSettings(connection=connection, workspace="w")}))
        return made[-1].reader("box")

    yield as_user
    for hosts in made:
        await hosts.close()


def comparable(facts: HostFacts) -> dict[str, object]:
    """What does not depend on the moment or on who looks."""
    who = {"gathered", "user", "uid", "gid", "home", "init", "disks", "ports", "docker", "root", "unread", "users"}
    return facts.model_dump(exclude=who)


async def test_every_login_sees_one_machine_with_its_own_rights(start_machine: StartMachine, login: Login) -> None:
    there = start_machine(DEBIAN_13_SERVER, hardware="rtx5090")
    hold = "apt-mark hold dash; install -m 600 /dev/null /etc/sysctl.d/60-berth.conf; echo a=b > /etc/modprobe.d/x.conf"
    there.machine.run(["sh", "-c", f"{hold}; echo vm.overcommit_ratio = 50 > /etc/sysctl.d/60-berth.conf"])
    root = await login(there, "root").facts()
    assert (root.os.id, root.os.version, root.systemd, root.init) == ("debian", "13", True, "systemd")
    assert (root.user, root.home, root.root, root.unread) == ("root", "/root", True, {})
    assert [(gpu.device, gpu.driver) for gpu in root.pci_gpus] == [("2b85", "nouveau")]
    assert root.driver.nouveau == ("nouveau",)
    assert root.packages["dash"].held
    assert not root.packages["bash"].held
    assert root.files["/etc/modprobe.d/x.conf"].content == "a=b\n"
    assert root.sysctl["vm.overcommit_ratio"].isdigit()
    assert 22 in root.ports
    assert "free" in root.users

    free = await login(there, "free").facts()
    assert (free.user, free.home, free.root, free.init) == ("free", "/home/free", True, "supervisord")
    assert comparable(free) == comparable(root)
    asks = await login(there, "asks", PASSWORD).facts()
    assert (asks.user, asks.home, asks.root) == ("asks", "/home/asks", True)
    assert comparable(asks) == comparable(root)

    for user, password in (("asks", None), ("cannot", "wrong")):
        limited = await login(there, user, password).facts()
        assert (limited.user, limited.root) == (user, False)
        assert "password" in limited.unread["root"]
        assert set(limited.unread) == {"root", "driver.rejected", "files./etc/sysctl.d/60-berth.conf"}
        assert limited.files["/etc/sysctl.d/60-berth.conf"].content is None
        assert limited.packages == root.packages
    odd = await login(there, "odd").facts()  # a login shell that is no POSIX sh
    assert comparable(odd) == comparable(root)


# STAND-IN for an nvidia-smi in a pod: it tells of a card and of none of the processes on it. One has the card open.
POD_CARD = r"""
printf '#!/bin/sh\ncase $* in *gpu=*) echo "%s" ;; esac\n' "$1" > /usr/local/bin/nvidia-smi
chmod +x /usr/local/bin/nvidia-smi
mkdir -p /dev /srv/logs
: > /dev/nvidia0
setsid sh -c 'exec sleep 600 7< /dev/nvidia0 > /srv/logs/chat.log' < /dev/null > /dev/null 2>&1 &
until [ -e /srv/logs/chat.log ]; do :; done
"""
CARD = "0, GPU-1, NVIDIA A40, 46068, 40000, 8.6, Enabled, 300.00, 300.00, 100.00, 300.00, Enabled, [N/A], 570.124.06"


async def test_in_a_pod_who_has_a_card_open_is_found(start_machine: StartMachine, login: Login) -> None:
    there = start_machine(POD)
    assert there.machine.run(["sh", "-c", POD_CARD, "card", CARD]).code == 0
    facts = await login(there, "root").facts()
    assert [gpu.name for gpu in facts.gpus] == ["NVIDIA A40"]
    assert [(one.uuid, one.memory, one.output) for one in facts.gpu_processes] == [("", 0, "/srv/logs/chat.log")]


async def test_a_pod_without_systemd(start_machine: StartMachine, login: Login) -> None:
    facts = await login(start_machine(POD), "root").facts()
    assert (facts.systemd, facts.init, facts.units) == (False, "supervisord", {})
    assert facts.container is not None
    assert facts.docker.client is None


async def test_a_machine_with_rpm(start_machine: StartMachine, login: Login) -> None:
    there = start_machine(ROCKY_9_SERVER)
    there.machine.run(["sh", "-c", "echo 'rocky-release-0:*' > /etc/dnf/plugins/versionlock.list"])
    host = login(there, "root")
    facts = await host.facts()
    assert (facts.os.id, facts.package_manager) == ("rocky", "dnf")
    assert facts.packages["rocky-release"].held
    assert "/etc/dnf/plugins/versionlock.list" in facts.files
    host.gathered.forget()
    began = time.monotonic()
    await host.facts()
    assert time.monotonic() - began < 5, "0.2 s where nothing else runs"
