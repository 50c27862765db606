"""The local repositories and the driver's stand-ins: what they show at each step is what real ones would."""

from __future__ import annotations

import pytest

from tests.machines.engine import Engine
from tests.machines.faults import HALF_CONFIGURED, apt_lock_held, end_connections, full_disk, leave_half_configured
from tests.machines.fixtures import machine_engine
from tests.machines.kinds import DEBIAN_13_SERVER, REPOSITORY_ADDRESS, ROCKY_9_SERVER
from tests.machines.machine import Machine, Ran
from tests.machines.repository import enterprise
from tests.machines.repository.local import (
    CUDA,
    DOCKER,
    KEY_FILES,
    PROBE,
    SUITE,
    TOOLKIT,
    enterprise_repository,
    local_repository,
)
from tests.sshd.fixtures import StartMachine, start_machine

__all__ = ["machine_engine", "start_machine"]

pytestmark = pytest.mark.systemd

_SOURCES = f"""
add() {{ echo "deb [signed-by=/srv/repository/$1] $2" >> /etc/apt/sources.list.d/test.list; }}
add {KEY_FILES[CUDA]} '{REPOSITORY_ADDRESS}/{CUDA} /'
add {KEY_FILES[TOOLKIT]} '{REPOSITORY_ADDRESS}/{TOOLKIT} /'
add {KEY_FILES[DOCKER]} 'file:/srv/repository/{DOCKER} {SUITE} stable'
apt-get update -qq
"""
_DNF_SOURCES = f"""
add() {{ printf '[%s]\\nname=%s\\nbaseurl=%s\\ngpgcheck=1\\nrepo_gpgcheck=1\\ngpgkey=file:///srv/repository/%s\\n' \\
  "$1" "$1" "$2" "$3" > "/etc/yum.repos.d/$1.repo"; }}
add cuda {REPOSITORY_ADDRESS}/{enterprise.CUDA} {KEY_FILES[enterprise.CUDA]}
add toolkit file:///srv/repository/{enterprise.TOOLKIT} {KEY_FILES[enterprise.TOOLKIT]}
"""


def do(machine: Machine, script: str) -> Ran:
    ran = machine.run(["sh", "-euc", f"export DEBIAN_FRONTEND=noninteractive\n{script}"], timeout_s=120)
    assert ran.code == 0, ran
    return ran


def test_a_driver_is_installed_then_loaded_by_a_reboot_and_seen_in_a_container(
    start_machine: StartMachine, machine_engine: Engine
) -> None:
    local = local_repository(machine_engine)
    there = start_machine(DEBIAN_13_SERVER, hardware="rtx5090", repository=local.served).machine
    do(there, _SOURCES)
    do(there, "apt-get install -qq --yes nvidia-driver-pinning-580 && apt-get install -qq --yes nvidia-open")
    assert "added" in do(there, "dkms status nvidia").out, "no headers, no module, and the package is content"
    do(there, "apt-get install -qq --yes linux-headers-$(uname -r)")
    assert do(there, "modinfo -F version nvidia; modinfo -F license nvidia").out == "580.105.08\nDual MIT/GPL\n"
    assert "installed" in do(there, "dkms status nvidia").out
    assert there.run(["nvidia-smi"]).code == 9, "nothing is loaded before a reboot"
    do(there, "echo blacklist nouveau > /etc/modprobe.d/berth.conf; update-initramfs -u")
    do(there, "apt-get install -qq --yes docker-ce nvidia-container-toolkit")
    do(there, 'mkdir -p /etc/docker; echo \'{"features": {"cdi": true}}\' > /etc/docker/daemon.json')
    there.reboot()
    assert do(there, "cat /sys/module/nvidia/version").out == "580.105.08\n"
    do(there, f"docker import /srv/repository/{PROBE} probe")
    seen = do(there, "docker run --rm --network none --device nvidia.com/gpu=all probe nvidia-smi -L")
    assert seen.out.startswith("GPU 0: NVIDIA GeForce RTX 5090 (UUID: GPU-")
    do(there, "apt-get install -qq --yes nvidia-driver-pinning-580.95.05")
    do(there, "apt-get dist-upgrade -qq --yes --allow-downgrades")
    mismatch = there.run(["nvidia-smi"])
    assert (mismatch.code, "Driver/library version mismatch" in mismatch.out) == (18, True)
    there.reboot()
    assert do(there, "nvidia-smi --query-gpu=driver_version --format=csv,noheader").out == "580.95.05\n"
    do(there, "apt-get purge -qq --yes nvidia-open nvidia-driver nvidia-kernel-open-dkms")
    assert do(there, "ls /sys/module | grep -c '^nvidia' || :").out == "0\n"


def test_faults_are_what_they_say(start_machine: StartMachine, machine_engine: Engine) -> None:
    there = start_machine(DEBIAN_13_SERVER, repository=local_repository(machine_engine).served).machine
    leave_half_configured(there)
    assert there.run(["dpkg-query", "-Wf", "${db:Status-Abbrev}", HALF_CONFIGURED]).out.strip() == "iF"
    with apt_lock_held(there):
        blocked = there.run(["apt-get", "install", "--yes", "dkms"])
        assert "Could not get lock /var/lib/dpkg/lock-frontend" in blocked.err
    do(there, _SOURCES)
    with full_disk(there):
        full = there.run(["apt-get", "install", "--yes", "nvidia-container-toolkit", "libcuda1"])
        assert "No space left on device" in full.err or "enough free space" in full.err, full
    do(there, "dpkg --configure -a")
    end_connections(there)


def test_the_same_on_enterprise_linux(start_machine: StartMachine, machine_engine: Engine) -> None:
    local = enterprise_repository(machine_engine)
    there = start_machine(ROCKY_9_SERVER, hardware="h100x8", repository=local.served).machine
    do(there, _DNF_SOURCES)
    hidden = there.run(["dnf", "-qy", "install", "nvidia-open"])
    assert "Unable to find a match: nvidia-open" in hidden.err, "no module stream is enabled"
    do(there, "dnf -qy module enable nvidia-driver:580-open")
    do(there, "dnf -qy install kernel-devel-$(uname -r) nvidia-open nvidia-fabricmanager")
    assert do(there, "rpm -q nvidia-open").out == "nvidia-open-580.105.08-1.el9.x86_64\n"
    assert there.run(["nvidia-smi"]).code == 9, "nothing is loaded before a reboot"
    do(there, "echo blacklist nouveau > /etc/modprobe.d/berth.conf; dracut -f")
    do(there, "dnf -qy install nvidia-container-toolkit-1.19.1-1; dnf -qy install python3-dnf-plugin-versionlock")
    do(there, "dnf -q versionlock add nvidia-open nvidia-container-toolkit")
    there.reboot()
    assert do(there, "nvidia-smi --query-gpu=driver_version --format=csv,noheader").out == "580.105.08\n" * 8
    do(there, "systemctl start nvidia-fabricmanager")
    assert "Completed" in do(there, "nvidia-smi -q").out
    assert "nvidia.com/gpu=7" in do(there, "nvidia-ctk cdi list").out, "the refresh service made it at boot"
    assert do(there, "dnf -q check-update nvidia-container-toolkit").out == "", "it is locked"
