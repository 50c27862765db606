"""Units, settings of the kernel, limits, accounts and unattended upgrades on a real machine with systemd."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from berth.provider.errors import CommandFailed
from berth.provider.host import Host
from berth.provider.operation import FactOperation
from berth.provider.operations.limits import Limit, Limits, LimitsWant
from berth.provider.operations.sysctl import Sysctl, SysctlWant
from berth.provider.operations.systemd_unit import SystemdUnit, SystemdUnitWant
from berth.provider.operations.unattended_upgrades import UnattendedUpgrades, UnattendedUpgradesWant
from berth.provider.operations.user import User, UserWant
from tests.machines.connection import MachineConnection
from tests.machines.machine import Machine
from tests.machines.published import Package, Published

pytestmark = pytest.mark.systemd

UNIT = "berth-test-settings.service"
SLEEP = "[Service]\nExecStart=/usr/bin/sleep {0}\n[Install]\nWantedBy=multi-user.target\n"


@dataclass
class Box:
    """The machine, and what was said of it."""

    machine: Machine
    said: list[str] = field(default_factory=list)

    def sh(self, script: str, *arguments: str) -> str:
        """What a person would type there."""
        ran = self.machine.run(["sh", "-euc", script, "hand", *arguments])
        assert ran.code == 0, ran.out + ran.err
        return ran.out.strip()

    async def up(self, operation: FactOperation[Any], want: Any, *, removed: bool = False) -> None:
        """Converges, proves that a second time does nothing, and says so."""
        self.said.clear()
        host = Host(name="box", workspace="/root", connection=MachineConnection(self.machine), say=self.said.append)
        if removed:
            await operation.converge(host, None, want.model_copy(update={"on_destroy": "remove"}))
            return
        await operation.converge(host, want, want)
        first = list(self.said)
        await operation.converge(host, want, want)
        assert self.said == first


@pytest.fixture
def box(systemd_machine: Machine) -> Box:
    return Box(systemd_machine)


async def test_a_unit_is_made_kept_changed_and_taken_away(box: Box) -> None:
    want = SystemdUnitWant(host="box", unit=UNIT, content=SLEEP.format(1001), enabled=True, active=True, restart=True)
    await box.up(SystemdUnit(), want)
    assert box.said == [f"changing {UNIT}: daemon-reload, enable, restart"]
    box.sh('systemctl --quiet disable --now "$1"', UNIT)
    await box.up(SystemdUnit(), want)
    assert box.said == [f"changing {UNIT}: enable, start"]
    box.sh('echo "# by hand" >> "/etc/systemd/system/$1"', UNIT)
    await box.up(SystemdUnit(), want)
    assert box.said == [f"changing {UNIT}: daemon-reload, try-restart"]
    await box.up(SystemdUnit(), want.model_copy(update={"content": SLEEP.format(1002)}))
    assert "sleep 1002" in box.sh('systemctl show -p ExecStart "$1"', UNIT)
    assert box.sh('tr "\\0" " " < "/proc/$(systemctl show -P MainPID "$1")/cmdline"', UNIT) == "/usr/bin/sleep 1002"
    drop_in = SystemdUnitWant(host="box", unit=UNIT, drop_in="10-berth", content="[Service]\nNice=5\n")
    await box.up(SystemdUnit(), drop_in)
    assert box.sh('systemctl show -P Nice "$1"', UNIT) == "5"
    await box.up(SystemdUnit(), drop_in, removed=True)
    await box.up(SystemdUnit(), want, removed=True)
    assert box.sh('ls /etc/systemd/system | grep berth-test-settings || systemctl show -P LoadState "$1"', UNIT) == (
        "not-found"
    )


async def test_a_unit_that_does_not_start_shows_its_last_lines(box: Box) -> None:
    content = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo no card here; exit 3'\n"
    want = SystemdUnitWant(host="box", unit=UNIT, content=content, active=True)
    with pytest.raises(CommandFailed, match="no card here"):
        await box.up(SystemdUnit(), want)
    await box.up(SystemdUnit(), want, removed=True)


async def test_the_kernel_is_set_now_and_at_boot_and_what_it_refuses_is_said(box: Box) -> None:
    key, range_ = "net.ipv4.tcp_keepalive_time", "net.ipv4.ip_local_port_range"  # each network's own, so this machine's
    want = SysctlWant(host="box", name="test", values={key: "700", range_: "33000 60000"})
    await box.up(Sysctl(), want)
    assert box.sh('cat "/proc/sys/net/ipv4/tcp_keepalive_time"') == "700"
    box.sh("echo 7200 > /proc/sys/net/ipv4/tcp_keepalive_time")
    await box.up(Sysctl(), want)
    assert box.said == [f"setting {key}"]
    wrong = SysctlWant(host="box", name="wrong", values={key: "many", "net.ipv4.no_such_thing": "1"})
    with pytest.raises(CommandFailed) as caught:
        await box.up(Sysctl(), wrong)
    assert f"{key} is 700, must be many: the kernel refuses it" in str(caught.value)
    assert "net.ipv4.no_such_thing: this kernel has no such setting" in str(caught.value)
    assert box.sh("ls /etc/sysctl.d | grep berth") == "99-zz-berth-test.conf"
    await box.up(Sysctl(), want, removed=True)


async def test_an_account_its_groups_and_its_limits_hold_from_the_next_login(box: Box) -> None:
    user = UserWant(host="box", name="berth-person", groups=["berth-cards", "video"])
    await box.up(User(), user)
    box.sh("gpasswd --delete berth-person video")
    await box.up(User(), user)
    assert box.said == ["adding berth-person to video"]
    limit = Limit(domain="@berth-cards", kind="soft", item="nofile", value="512")
    want = LimitsWant(host="box", name="test", limits=[limit])
    await box.up(Limits(), want)
    assert box.sh("su - berth-person -c 'ulimit -S -n; id -Gn'").split() == [
        "512",
        "berth-person",
        "video",
        "berth-cards",
    ]
    await box.up(Limits(), want, removed=True)
    await box.up(User(), user, removed=True)
    assert box.sh("id -Gn berth-person") == "berth-person"
    box.sh("userdel --remove berth-person 2> /dev/null; groupdel berth-cards")


async def test_unattended_upgrades_leave_alone_what_is_declared(box: Box) -> None:
    want = UnattendedUpgradesWant(host="box", patterns=["nvidia", "docker-ce"])
    await box.up(UnattendedUpgrades(), want)
    assert box.said == []
    Published(box.machine, "unattended").publish(Package("unattended-upgrades", "0"))
    box.sh("dpkg --install /srv/published/unattended/*.deb")
    await box.up(UnattendedUpgrades(), want)
    dump = box.sh("apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert '"nvidia"' in dump
    assert '"docker-ce"' in dump
    await box.up(UnattendedUpgrades(), want, removed=True)
    box.sh("dpkg --purge unattended-upgrades")
