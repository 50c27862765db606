"""Containers that lose their GPUs when systemd reads its units anew."""

from __future__ import annotations

from collections.abc import Sequence

from berth.facts import HostFacts


def told(facts: HostFacts, host: str) -> Sequence[str]:
    """What to say before a daemon-reload: it resets the device rules of containers that got GPUs without CDI.

    Whether a running one did cannot be seen from outside; it can only where Docker leaves its cgroups to systemd and
    knows of no CDI device.
    """
    if facts.docker.cgroup_driver == "cgroupfs" or any("nvidia.com/gpu" in one for one in facts.docker.cdi_devices):
        return ()
    users = sorted({one.command or str(one.pid) for one in facts.gpu_processes if "docker" in one.cgroup})
    if not users:
        return ()
    line = (
        f"{host}: systemd reads its units anew, which takes the GPUs from containers that got them without CDI "
        f"({', '.join(users)} run there): make those containers anew afterwards"
    )
    return [line]
