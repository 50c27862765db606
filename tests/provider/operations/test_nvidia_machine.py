"""A driver put on a real machine over SSH, loaded by a reboot that is waited for, set, broken by hand and repaired.

The packages are stand-ins with the ways of the real ones; apt, dpkg, systemd, sudo and the reboot are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from berth.provider.errors import CommandFailed, RebootNeeded
from berth.provider.host import Gathered, Host
from berth.provider.nvidia_module import BLACKLIST
from berth.provider.operation import Operation
from berth.provider.operations.fabric_manager import FabricManager, FabricManagerWant
from berth.provider.operations.loaded_driver import LoadedDriver, LoadedDriverWant
from berth.provider.operations.nvidia_driver import NvidiaDriver, NvidiaDriverWant
from berth.provider.operations.persistence_mode import PersistenceMode, PersistenceModeWant
from berth.provider.operations.power_limit import PowerLimit, PowerLimitWant
from tests.machines.engine import Engine
from tests.machines.fixtures import machine_engine, or_skip
from tests.machines.kinds import DEBIAN_13_SERVER
from tests.machines.machine import Machine
from tests.machines.repository.local import CUDA, KEY_FILES, local_repository
from tests.sshd.fixtures import Connect, connect
from tests.sshd.machine import SshMachine, start

__all__ = ["connect", "machine_engine"]

pytestmark = pytest.mark.systemd

_SOURCE = f"""
printf 'Types: deb\\nURIs: file:/srv/repository/{CUDA}\\nSuites: /\\nSigned-By: /srv/repository/{KEY_FILES[CUDA]}\\n' \\
  > /etc/apt/sources.list.d/cuda.sources
apt-get update -qq
uname -r
"""


_MODPROBE = """
cat > /usr/local/sbin/modprobe << 'END'
#!/bin/sh
# STAND-IN for modprobe, on what stands in for the kernel's modules: none uses another.
module=/run/stand-in/module
if [ "$1" = -r ]; then rm -rf "$module/$2"; exit 0; fi
mkdir -p "$module/$1"
modinfo -F version nvidia > "$module/$1/version"
echo 0 > "$module/$1/refcnt"
END
chmod 755 /usr/local/sbin/modprobe
"""
"""No kernel takes the stand-in of a module."""


@pytest.fixture
def there(machine_engine: Engine) -> Iterator[SshMachine]:
    """A machine with eight cards behind an NVSwitch, nouveau loaded, and NVIDIA's repository."""
    with or_skip("test machine with recorded GPUs"):
        repository = local_repository(machine_engine).served
        made = start(machine_engine, DEBIAN_13_SERVER, hardware="h100x8", repository=repository)
    yield made
    made.machine.remove()


class Site:
    """The machine as operations meet it, with what was said and run."""

    def __init__(self, there: SshMachine, connect: Connect) -> None:
        self.said: list[str] = []
        self.host = Host(
            name="box",
            workspace="/home/free/berth",
            connection=connect(there.settings("free")),
            say=self.said.append,
            gathered=Gathered(),
        )
        self.machine = there.machine

    def do(self, script: str) -> str:
        """What a person does by hand, after which the facts are old."""
        ran = done(self.machine, script)
        self.host.gathered.forget()
        return ran

    async def differing(self, operation: Operation[Any], want: Any) -> list[str]:
        return operation.differing(want, await operation.observe(self.host, want))

    async def made(self, operation: Operation[Any], want: Any) -> None:
        """Made as declared; a second time runs nothing."""
        await operation.converge(self.host, want, want)
        quiet = len(self.said)
        await operation.converge(self.host, want, want)
        assert self.said[quiet:] == []


def done(machine: Machine, script: str) -> str:
    ran = machine.run(["sh", "-euc", script], timeout_s=120)
    assert ran.code == 0, ran
    return ran.out


DRIVER, LOADED, PERSISTENCE = NvidiaDriver(), LoadedDriver(), PersistenceMode()
POWER, FABRIC = PowerLimit(), FabricManager()
IN_KERNEL = LoadedDriverWant(host="box", loaded="580.95.05", reboot="allowed", reboot_timeout_s=120)
PERSISTENT = PersistenceModeWant(host="box")
LIMITS = PowerLimitWant(host="box", watts={str(index): 500 for index in range(8)})
MANAGED = FabricManagerWant(host="box", manager="apt", packages=["nvidia-fabricmanager"])
BREAKAGES: tuple[tuple[str, Operation[Any], str, str], ...] = (
    ("driver", DRIVER, "apt-mark unhold nvidia-driver-cuda", "hold"),
    ("driver", DRIVER, f"echo >> {BLACKLIST}", "nouveau"),
    ("driver", DRIVER, "rm /lib/modules/$(uname -r)/updates/dkms/nvidia.ko", "module"),
    ("driver", DRIVER, "apt-get purge -qq --yes linux-headers-$(uname -r)", "headers[0]"),
    ("persistence", PERSISTENCE, "nvidia-smi -pm 0", "mode"),
    ("persistence", PERSISTENCE, "systemctl disable nvidia-persistenced", "daemon"),
    ("power", POWER, "nvidia-smi -i 3 -pl 650", 'watts["3"]'),
    ("fabric", FABRIC, "systemctl stop nvidia-fabricmanager", "state"),
)


async def test_a_driver_from_nothing_to_a_loaded_one_that_is_kept_so(there: SshMachine, connect: Connect) -> None:
    site = Site(there, connect)
    driver = NvidiaDriverWant(
        host="box",
        manager="apt",
        branch=580,
        version="580.95.05",
        flavour="open",
        packages=["nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced"],
        pinning="nvidia-driver-pinning-580.95.05",
        kernel=done(there.machine, _SOURCE).strip(),
        initramfs="update-initramfs",
    )
    with pytest.raises(CommandFailed, match=r"is not there, must be 580\.95\.05\n.*\nthe headers of .* are not there"):
        await DRIVER.converge(site.host, driver, driver)
    driver = driver.model_copy(update={"headers": [f"linux-headers-{driver.kernel}", "dkms"]})
    await site.made(DRIVER, driver)

    with pytest.raises(RebootNeeded, match=r"reboot needed: driver 580\.95\.05 on disk, nouveau loaded; reboot the"):
        await LOADED.converge(site.host, IN_KERNEL.model_copy(update={"reboot": "never"}), IN_KERNEL)
    await site.made(LOADED, IN_KERNEL)
    assert any(line.startswith("waiting for box to come back from its reboot") for line in site.said)

    settings: dict[str, Any] = {"driver": driver, "persistence": PERSISTENT, "power": LIMITS, "fabric": MANAGED}
    for operation, name in ((PERSISTENCE, "persistence"), (POWER, "power"), (FABRIC, "fabric")):
        await site.made(operation, settings[name])
    for name, operation, by_hand, path in BREAKAGES:
        site.do(f"export DEBIAN_FRONTEND=noninteractive\n{by_hand}")
        assert path in await site.differing(operation, settings[name]), by_hand
        await site.made(operation, settings[name])

    later = driver.model_copy(update={"branch": 595, "version": "", "pinning": "nvidia-driver-pinning-595"})
    then = IN_KERNEL.model_copy(update={"loaded": "595"})
    await site.made(DRIVER, later)
    assert await site.differing(LOADED, then) == ["loaded"]
    await site.made(LOADED, then)
    for operation, want in ((PERSISTENCE, PERSISTENT), (POWER, LIMITS), (FABRIC, MANAGED)):
        assert await site.differing(operation, want) == [], "it came back with the reboot"

    await site.made(DRIVER, driver)
    site.do(_MODPROBE)
    unasked = IN_KERNEL.model_copy(update={"reboot": "never"})
    site.do("echo 1 > /run/stand-in/module/nvidia_uvm/refcnt")
    said = r"580\.95\.05 on disk, 595\.45\.04 loaded and used by something that has nvidia_uvm open; reboot the machine"
    with pytest.raises(RebootNeeded, match=said):
        await LOADED.converge(site.host, unasked, unasked)
    site.do("echo 0 > /run/stand-in/module/nvidia_uvm/refcnt")
    await site.made(LOADED, unasked)
    site.do("for module in nvidia_uvm nvidia_modeset nvidia; do modprobe -r $module; done")
    assert await site.differing(LOADED, unasked) == ["loaded"]
    await site.made(LOADED, unasked)

    settings = {"fabric": MANAGED, "power": LIMITS, "persistence": PERSISTENT, "driver": driver}
    for operation, name in ((FABRIC, "fabric"), (POWER, "power"), (PERSISTENCE, "persistence"), (DRIVER, "driver")):
        await operation.converge(site.host, None, settings[name])
        assert await site.differing(operation, settings[name]) != ["existence"], "destroy keeps what others may use"
        gone = settings[name].model_copy(update={"on_destroy": "remove"})
        await operation.converge(site.host, None, gone)
        assert await operation.observe(site.host, gone) is None


async def test_whoever_uses_a_card_is_named_and_left_alone(there: SshMachine, connect: Connect) -> None:
    site = Site(there, connect)
    site.do(
        "touch /dev/nvidia9; systemd-run --quiet --unit engine sh -c 'exec 3< /dev/nvidia9; exec sleep infinity'; "
        'until [ "$(cat /proc/$(systemctl show -P MainPID engine)/comm)" = sleep ]; do sleep 0.05; done'
    )
    (exchange,) = LOADED.steps(IN_KERNEL, IN_KERNEL.model_copy(update={"loaded": "575.57.08"}))
    result = await site.host.run(exchange)
    assert (result.status, result.stderr) == (8, "sleep\n")
