"""Reboots a machine and waits until it answers again as another boot of itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from berth.provider.command import Command, shell
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import CommandFailed, RebootNeeded, Unreachable
from berth.provider.host import Host

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# A system container shows the boot of the machine around it; its own first process is new after each start.
_MARK = """
cat /proc/sys/kernel/random/boot_id
sed -e 's/^.*) //' /proc/1/stat | cut -d ' ' -f 20
"""

# The answer must be on its way before the machine goes: systemctl does not wait, and reboot(8) is left behind.
_REBOOT = """
if [ -d /run/systemd/system ]; then exec systemctl --no-block reboot; fi
(sleep 1; reboot) < /dev/null > /dev/null 2>&1 &
"""

# What is looked at right after sshd is there may still be on its way up: modules, devices, services.
_UP = """
if [ ! -d /run/systemd/system ]; then exit 0; fi
case $(timeout "$1" systemctl is-system-running --wait 2> /dev/null || :) in
  running | degraded) ;;
  *) exit 4 ;;
esac
"""

_ASK_AGAIN_S = 2.0
_ANSWER_S = 15.0
_UP_S = 30


async def reboot(host: Host, *, why: str, limit_s: float) -> None:
    """Reboots the machine, and returns once another boot of it is up.

    `why` is a clause such as "driver 580.95.05 is on disk, 575.57.08 is loaded". One that answers but whose services
    are not all up when the limit is reached is taken as it is.

    Raises:
        RebootNeeded: it is the machine that this runs on, or it did not go down.
        Unreachable: it did not come back within the limit.
        CommandFailed: it refuses to reboot.
    """
    before = now = await _mark(host)
    if isinstance(host.connection, LocalConnection) or before == _own_mark():
        raise RebootNeeded(
            f"{host.name}: reboot needed: {why}; this is the machine that Pulumi runs on, which is never rebooted from "
            "here: reboot it by hand, then run the same again"
        )
    host.say(f"rebooting {host.name}: {why}")
    with contextlib.suppress(Unreachable):
        await host.run(order())
    started, answers = time.monotonic(), True
    while (passed := time.monotonic() - started) < limit_s:
        host.say(f"waiting for {host.name} to come back from its reboot ({passed:.0f} s, at most {limit_s:.0f} s)")
        try:
            now, answers = await _mark(host), True
            if now != before and await _is_up(host):
                return
        except (Unreachable, CommandFailed):
            answers = False
            await host.connection.close()  # the next question opens another one, instead of remembering this failure
        await asyncio.sleep(_ASK_AGAIN_S)
    if not answers:
        raise Unreachable(
            f"{host.name}: did not come back within {limit_s:.0f} s of its reboot ({why}); look at its console, and "
            "run the same again once it answers"
        )
    if now == before:
        raise RebootNeeded(
            f"{host.name}: reboot needed: {why}; it was told to reboot and did not go down within {limit_s:.0f} s: see "
            "`systemctl list-jobs` there, reboot it by hand, then run the same again"
        )


def order() -> Command:
    """What makes the machine reboot; it answers before it goes."""
    return shell(_REBOOT, says="asking it to reboot", root=True, timeout_s=_ANSWER_S)


async def _mark(host: Host) -> str:
    """What differs between two boots of a machine."""
    looking = shell(_MARK, says="asking which boot this is", timeout_s=_ANSWER_S)
    return (await host.quietly().run(looking)).stdout.strip()


async def _is_up(host: Host) -> bool:
    up = shell(
        _UP, str(_UP_S), says="waiting until its services are up", timeout_s=_UP_S + _ANSWER_S, ok=frozenset({0, 4})
    )
    return (await host.quietly().run(up)).status == 0


def _own_mark() -> str:
    """The mark of the machine that this runs on."""
    try:
        start = Path("/proc/1/stat").read_text(encoding="ascii", errors="replace").rsplit(") ", 1)[1].split()[19]
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()}\n{start}"
    except (OSError, IndexError):
        return ""
