"""A container as a value, and the script that makes it: written to the host, so that a person can read what was run."""

from __future__ import annotations

import csv
import hashlib
import io
import shlex
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

GPU_KIND = "nvidia.com/gpu"
"""The kind of NVIDIA's devices in the Container Device Interface."""

DIGEST = "dev.berth.definition"
"""The label with the digest of the script that made a container."""

GpuAccess = Literal["none", "cdi", "runtime"]
"""How a container gets its cards: by names of CDI devices, or by the runtime `nvidia` of the container toolkit."""


class Mount(BaseModel):
    """A folder of the host in a container."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    writable: bool = False

    def option(self) -> str:
        """The value of `--mount`, which Docker reads as a line of CSV."""
        parts = ["type=bind", f"source={self.source}", f"target={self.target}"]
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([*parts, *([] if self.writable else ["readonly"])])
        return line.getvalue()


class Container(BaseModel):
    """What is particular about a service that runs in a container.

    `gpus` are the host's cards by index, `access` how they are given. `address` and `port` are where the host listens
    for `inside`, the container's own port (0: nothing is published); with the network `host` there is only one. Sizes
    are in bytes, 0 is Docker's own; `cpus` the cores it may use, 0 all. `log_size` and `log_files` bound what Docker
    keeps of its output. `user` runs it, empty the image's own. `capabilities` are all that it has, None Docker's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    network: str = "bridge"
    address: str = "127.0.0.1"
    port: int = 0
    inside: int = 0
    gpus: tuple[int, ...] = ()
    access: GpuAccess = "none"
    mounts: tuple[Mount, ...] = ()
    shared_memory: int = 0
    ipc: Literal["private", "host"] = "private"
    memory: int = 0
    cpus: float = 0
    user: str = ""
    capabilities: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    log_size: str = "50m"
    log_files: int = 4

    def options(self) -> Iterator[str]:
        """The options of `docker create` that say all this."""
        yield from ("--network", self.network)
        if self.port and self.network != "host":
            yield from ("--publish", f"{_bracketed(self.address)}:{self.port}:{self.inside}")
        yield from self._cards()
        for mount in self.mounts:
            yield from ("--mount", mount.option())
        if self.shared_memory:
            yield from ("--shm-size", str(self.shared_memory))
        if self.ipc != "private":
            yield from ("--ipc", self.ipc)
        if self.memory:
            yield from ("--memory", str(self.memory))
        if self.cpus:
            yield from ("--cpus", f"{self.cpus:g}")
        yield from self._rights()
        for name, value in sorted(self.labels.items()):
            yield from ("--label", f"{name}={value}")
        yield from ("--log-driver", "json-file")
        yield from ("--log-opt", f"max-size={self.log_size}", "--log-opt", f"max-file={self.log_files}")

    def _rights(self) -> Iterator[str]:
        yield from ("--security-opt", "no-new-privileges")  # nothing in it gets more than what it was started with
        if self.user:
            yield from ("--user", self.user)
        if self.capabilities is not None:
            yield from ("--cap-drop", "ALL")
            for capability in self.capabilities:
                yield from ("--cap-add", capability)

    def _cards(self) -> Iterator[str]:
        if not self.gpus or self.access == "none":
            return
        if self.access == "cdi":
            for card in self.gpus:
                yield from ("--device", f"{GPU_KIND}={card}")
        else:
            yield from ("--runtime", "nvidia", "--env", f"NVIDIA_VISIBLE_DEVICES={','.join(map(str, self.gpus))}")
            yield from ("--env", "NVIDIA_DRIVER_CAPABILITIES=compute,utility")


_HEAD = "# Written by Berth; change the stack file instead: what is changed here shows as drift."

HEALTH_INTERVAL_S, HEALTH_TIMEOUT_S, HEALTH_RETRIES = 30, 10, 5


def create_script(
    name: str,
    container: Container,
    command: list[str],
    *,
    health: tuple[str, ...] = (),
    restart: str = "unless-stopped",
    start_period_s: int = 0,
    stop_timeout_s: int = 0,
    labels: Mapping[str, str] | None = None,
) -> str:
    """The script that makes the container `name`, stopped; run with `--label DIGEST=...` as its argument.

    `health` is what Docker asks now and then whether it is well, which shows in `docker ps` and decides nothing.
    """
    options = ["--name", name, "--restart", restart]
    if stop_timeout_s:
        options += ["--stop-timeout", str(stop_timeout_s)]
    if health:
        options += ["--health-cmd", shlex.join(health), "--health-interval", f"{HEALTH_INTERVAL_S}s"]
        options += ["--health-timeout", f"{HEALTH_TIMEOUT_S}s", "--health-retries", str(HEALTH_RETRIES)]
        options += ["--health-start-period", f"{start_period_s}s"]
    for label, value in sorted((labels or {}).items()):
        options += ["--label", f"{label}={value}"]
    options += container.options()
    program, *arguments = command
    words = [*options, '"$@"', "--entrypoint", program, container.image, *arguments]
    said = " ".join(word if word == '"$@"' else shlex.quote(word) for word in words)
    return f"#!/bin/sh\n{_HEAD}\nexec docker create {said}\n"


def digest(script: str) -> str:
    """What tells one definition of a container from another."""
    return hashlib.sha256(script.encode()).hexdigest()


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
