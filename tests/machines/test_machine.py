"""The test machine itself: a real systemd, real ends, and nothing left behind."""

from __future__ import annotations

import pytest

from tests.machines.fixtures import systemd_machine
from tests.machines.machine import Machine

__all__ = ["systemd_machine"]

pytestmark = pytest.mark.systemd


def test_systemd_is_the_first_process_and_has_no_failed_unit(systemd_machine: Machine) -> None:
    assert systemd_machine.run(["cat", "/proc/1/comm"]).out == "systemd\n"
    failed = systemd_machine.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
    assert (failed.code, failed.out) == (0, "")


def test_a_unit_is_restarted_by_systemd_and_its_whole_group_ends(systemd_machine: Machine) -> None:
    unit = "[Service]\nExecStart=/bin/sh -c 'sleep 1000 & exec sleep 2000'\nRestart=always\nRestartSec=0\n"
    systemd_machine.run(["tee", "/etc/systemd/system/probe.service"], stdin=unit)
    assert systemd_machine.run(["systemctl", "daemon-reload"]).code == 0
    assert systemd_machine.run(["systemctl", "start", "probe"]).code == 0
    watch = "old=$(systemctl show -P MainPID probe); kill -9 $old; "
    watch += "until new=$(systemctl show -P MainPID probe); [ $new != 0 ] && [ $new != $old ]; do :; done; "
    watch += "until [ $(pgrep -cf 'sleep [12]000') = 2 ]; do :; done"
    assert systemd_machine.run(["sh", "-c", watch]).code == 0
    assert systemd_machine.run(["systemctl", "stop", "probe"]).code == 0
    assert systemd_machine.run(["pgrep", "-f", "sleep [12]000"]).code == 1


def test_run_gives_input_status_and_both_outputs(systemd_machine: Machine) -> None:
    ran = systemd_machine.run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin="한국어\n")
    assert ran == (7, "한국어\n", "bad\n")


def test_a_reboot_keeps_the_disk_and_empties_run(systemd_machine: Machine) -> None:
    systemd_machine.run(["touch", "/root/kept", "/run/gone"])
    before = systemd_machine.pid
    systemd_machine.reboot()
    assert systemd_machine.pid != before
    assert systemd_machine.run(["ls", "/root/kept"]).code == 0
    assert systemd_machine.run(["ls", "/run/gone"]).code != 0
