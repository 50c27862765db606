"""Containers that lose their GPUs when systemd reads its units anew.

systemd sets the devices of its own scopes anew then, and does not know of those that the NVIDIA hook added. With CDI
they are part of the container (nvidia-container-toolkit issues 48, 251, 1227, 1397).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from berth.catalogue.docker import GPUS_BY_CDI_SINCE, OLDEST_TOOLKIT, at_least
from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.errors import CommandFailed
from berth.provider.host import Host

_SCOPE = re.compile(r"/(?:docker|libpod|cri-containerd|crio)-([0-9a-f]{12,})\.scope(?!/berth-)")
"""The gathering of facts adds the service to the group of a container of Berth's, all of which have theirs by CDI."""
_ID = 12
"""As many digits of a container's id as `docker ps` shows."""


def losing_gpus(facts: HostFacts) -> list[str]:
    """The running containers that a daemon-reload may take the GPUs from: the beginnings of their ids.

    How another's got its GPUs cannot be seen from outside. It was with CDI where all ways lead there: Docker knows the
    devices and goes by them for `--gpus` too, the toolkit is one that prefers CDI, and its runtime, which does as its
    mode says, is not chosen for every container. Scopes are systemd's only where Docker leaves its cgroups to it.
    """
    docker = facts.docker
    known = any(device.startswith("nvidia.com/gpu") for device in docker.cdi_devices)
    by_flag = docker.version is not None and at_least(docker.version, GPUS_BY_CDI_SINCE)
    by_runtime = facts.toolkit is None or at_least(facts.toolkit, OLDEST_TOOLKIT)
    always = known and by_flag and by_runtime and docker.default_runtime != "nvidia"
    if always or docker.cgroup_driver == "cgroupfs":
        return []
    found = (_SCOPE.search(process.cgroup) for process in facts.gpu_processes)
    return sorted({scope[1][:_ID] for scope in found if scope is not None})


def told(facts: HostFacts, host: str) -> Sequence[str]:
    """What a preview says before a daemon-reload, for whoever runs such containers."""
    losing = losing_gpus(facts)
    if not losing:
        return ()
    line = (
        f"{host}: systemd reads its units anew, which takes the GPUs from running containers that got them without CDI "
        f'(perhaps {", ".join(losing)}: "Failed to initialize NVML"); make those anew afterwards'
    )
    return [line]


async def before(host: Host, commands: Sequence[Command]) -> Sequence[str]:
    """What is said before these commands, where one of them is a daemon-reload."""
    if not any("daemon-reload" in word for command in commands for word in command.argv):
        return ()
    try:
        return told(await host.quietly().facts(), host.name)
    except CommandFailed:  # what a host does not say of its containers keeps nobody from a change
        return ()
