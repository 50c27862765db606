"""Machines reached over SSH: what each kind is, how it boots, and what stands in for its hardware."""

from __future__ import annotations

import asyncio

import pytest

from berth.provider.command import shell
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import DEBIAN_12_SERVER, DEBIAN_13_SERVER, POD, Kind
from tests.sshd.fixtures import Connect, StartMachine, connect, start_machine

__all__ = ["connect", "machine_engine", "start_machine"]

pytestmark = pytest.mark.systemd


@pytest.mark.parametrize(
    ("kind", "system", "first"),
    [
        (DEBIAN_13_SERVER, "debian 13", "systemd"),
        (DEBIAN_12_SERVER, "debian 12", "systemd"),
        (POD, "debian 12", "start.sh"),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
async def test_a_machine_is_bare_and_lets_in(
    kind: Kind, system: str, first: str, start_machine: StartMachine, connect: Connect
) -> None:
    connection = connect(start_machine(kind).settings("root"))
    asked = '. /etc/os-release; echo "$ID $VERSION_ID"; cat /proc/1/comm; ls -d /run/systemd/system; command -v docker'
    answer = await connection.run(shell(f"{asked} || :", says="asking"))
    runs = ["/run/systemd/system"] if kind.systemd else []
    assert answer.stdout.splitlines() == [system, first, *runs]


async def test_a_reboot_from_within_is_one(start_machine: StartMachine, connect: Connect) -> None:
    there = start_machine(DEBIAN_13_SERVER, hardware="rtx5090")
    boot = shell("cat /proc/sys/kernel/random/boot_id", says="asking")
    before = await connect(there.settings("root")).run(boot)
    old = there.machine.pid
    there.machine.run(["systemctl", "reboot"])
    there.machine.wait_for_reboot(old)
    after = await connect(there.settings("root")).run(boot)
    assert before.stdout != after.stdout


async def test_a_card_is_on_the_bus_and_nouveau_has_it_until_the_initramfs_says_otherwise(
    start_machine: StartMachine, connect: Connect
) -> None:
    there = start_machine(DEBIAN_13_SERVER, hardware="rtx5090")
    look = shell("cd /sys/bus/pci/devices/0000:01:00.0; cat vendor device; ls -d driver/ || :", says="looking")
    assert (await connect(there.settings("root")).run(look)).stdout.split() == ["0x10de", "0x2b85", "driver/"]
    there.machine.run(["sh", "-c", "echo 'blacklist nouveau' > /etc/modprobe.d/no.conf; update-initramfs -u"])
    there.machine.reboot()
    assert (await connect(there.settings("root")).run(look)).stdout.split() == ["0x10de", "0x2b85"]


async def test_a_cut_machine_does_not_answer_and_a_mended_one_does(
    start_machine: StartMachine, connect: Connect
) -> None:
    there = start_machine(POD)
    with there.machine.without_network():
        answer = connect(there.settings("root")).run(shell("true", says="asking"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answer, 2)
    await connect(there.settings("root")).run(shell("true", says="asking"))
