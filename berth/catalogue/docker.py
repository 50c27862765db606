"""What is known of Docker and the NVIDIA container toolkit by their versions: settings and turning points.

Sources: Docker's installation and `dockerd` pages, moby's release notes and source, NVIDIA's installation guide of the
container toolkit and its source (github.com/NVIDIA/nvidia-container-toolkit), all as of 2026-08.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

OBSOLETE_TOOLKIT_LISTS = ("libnvidia-container.list", "nvidia-docker.list", "nvidia-container-runtime.list")
"""Left by earlier guides in /etc/apt/sources.list.d: apt stops at two keys for one repository."""

CDI_SINCE = "25.0"
"""The first Docker with CDI, which it turns on by itself from 28.3 on."""

GPUS_BY_CDI_SINCE = "29.2"
"""The first Docker whose `--gpus` tries CDI before the hook of the container toolkit."""

OLDEST_DOCKER = CDI_SINCE
"""What Berth's containers need: their GPUs come by CDI."""

RELOADABLE = frozenset(
    {
        *("debug", "labels", "live-restore", "shutdown-timeout", "runtimes", "default-runtime"),
        *("max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts"),
        *("insecure-registries", "registry-mirrors", "allow-nondistributable-artifacts"),
    }
)
"""Settings that dockerd takes over without a restart (moby, daemon/reload.go).

It takes `features` as well, but looks at `features.cdi` and at that of the image store at its start only.
"""

OLDEST_TOOLKIT = "1.18.0"
"""The first that keeps its CDI specification fresh by itself (nvidia-cdi-refresh)."""

NVIDIA_RUNTIME: Mapping[str, Any] = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}
"""The part of what `nvidia-ctk runtime configure` writes that says something."""


def at_least(version: str, minimum: str) -> bool:
    """Whether a version (of a program or a package, whatever follows its numbers) is not below another."""
    return numbers(version) >= numbers(minimum)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version starts with: `5:29.3.0-1~debian.13` is (29, 3, 0), `26.1.5+dfsg1` is (26, 1, 5)."""
    found = re.match(r"(?:\d+:)?v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def daemon_settings(*, gpu: bool, live_restore: bool | None = None) -> dict[str, Any]:
    """What Berth asks of daemon.json whatever is there; the rest of the file is the host's own.

    It depends on no version, or what is wanted would change with the engine that an update has just installed: with
    `gpu`, CDI is turned on although it is by default from 28.3 on.
    """
    settings: dict[str, Any] = {"features": {"cdi": True}, **NVIDIA_RUNTIME} if gpu else {}
    if live_restore is not None:
        settings["live-restore"] = live_restore
    return settings


def daemon_defaults() -> dict[str, Any]:
    """What Berth adds to daemon.json where neither the stack nor the host says anything of it.

    Logs are limited, since Docker's default fills the disk. Open files are, since they fall to 1024 from containerd
    2.1.5 on; a host's lower limit is raised.
    """
    return {
        "log-driver": "json-file",
        "log-opts": {"max-size": "100m", "max-file": "3"},
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 65536, "Hard": 524288}},
    }
