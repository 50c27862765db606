"""Rented pods: containers of somebody else's, of which a reset leaves the volumes alone, reached through a proxy.

Whether a host is one is read from its facts; without any nothing is said. A container that runs Pulumi itself is where
somebody develops, who knows what becomes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from berth.facts import HostFacts
from berth.facts.model import Disk
from berth.planner.notes import refusal, remark, warning
from berth.planner.placement import where_of
from berth.planner.plan import Note
from berth.spec.gateway import Gateway
from berth.spec.stack import Stack

_SHARED_MEMORY = 2**30
"""Bytes of /dev/shm that tensor parallelism wants; Docker's own 64 MiB fail (NCCL's troubleshooting, vLLM's Docker
page)."""

_ROOM = 2**30
"""Bytes free on a volume that may be meant for data: files and licences are mounted as well."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A provider's door in front of a machine: `pattern` finds the port in its addresses, `limit_s` is its patience."""

    name: str
    pattern: str
    limit_s: float
    status: int
    otherwise: str


PROXIES = (
    Proxy(
        name="RunPod's proxy",
        pattern=r"https://[^./]+-(?P<port>\d+)\.proxy\.runpod\.net(/.*)?",
        limit_s=100,
        status=524,
        otherwise="the pod's TCP port, which has no such limit",
    ),
)
"""From https://docs.runpod.io/pods/configuration/expose-ports, read in August 2026."""


def pods(stack: Stack, facts: Mapping[str, HostFacts]) -> Iterator[Note]:
    """What to know of a stack's pods before anything is put there."""
    for name, host in stack.hosts.items():
        found = facts.get(name)
        if found is not None and found.guest and host.connection != "local":
            yield from _kept(f"hosts.{name}.root", host.root, found)
            if host.cache is not None:
                yield from _kept(f"hosts.{name}.cache", host.cache, found)
            yield from _brought(stack, name, found)
            yield from _shared_memory(stack, name, found)
    if stack.gateway is not None and stack.gateway.url is not None:
        yield from _proxied(stack.gateway, stack.gateway.url)


def volume(path: str, facts: HostFacts) -> Disk | None:
    """The volume that a path of a container lies on; None where that is the container's own disk."""
    place = PurePosixPath(facts.home, f"{facts.home}{path[1:]}" if path.startswith("~") else path)
    own = [disk for disk in facts.disks if place.is_relative_to(disk.mount)]
    nearest = max(own, key=lambda disk: len(disk.mount), default=None)
    return None if nearest is None or not _is_volume(nearest) else nearest


def _is_volume(disk: Disk) -> bool:
    return disk.mount != "/" and disk.mount.split("/")[1] not in {"dev", "etc", "proc", "run", "sys", "usr"}


def _kept(where: str, path: str, facts: HostFacts) -> Iterator[Note]:
    """A folder of which a reset leaves nothing."""
    if volume(path, facts) is not None:
        return
    roomy = [disk for disk in facts.disks if _is_volume(disk) and disk.free >= _ROOM]
    volumes = [f"{disk.mount} ({disk.free / 2**30:.0f} GiB free)" for disk in roomy]
    known = f"write a folder of {' or '.join(volumes)}" if volumes else "it has none: rent it with one"
    text = (
        f"is {path}, on the container's own disk, which a stop, a reset or an edit of the pod empties; must be on a "
        f"volume to be there afterwards; {known}"
    )
    yield warning(where, text)


def _brought(stack: Stack, host: str, facts: HostFacts) -> Iterator[Note]:
    """Folders that somebody has put there and that a stack names."""
    for model, spec in stack.models.items():
        for revision, said in spec.revisions.items():
            if not any(place.host == host or host in stack.group(place.group or "") for place in said.place):
                continue
            where = where_of(model, spec, revision)
            folders = {f"{where}.source.path": said.source.path}
            if said.engine.environment is not None:
                folders[f"{where}.engine.environment.path"] = said.engine.environment.path
            for number, adapter in enumerate(said.lora.adapters if said.lora is not None else ()):
                folders[f"{where}.lora.adapters[{number}].source.path"] = adapter.source.path
            for place, path in folders.items():
                if path is not None:
                    yield from _kept(place, path, facts)


def _shared_memory(stack: Stack, host: str, facts: HostFacts) -> Iterator[Note]:
    """Cards that work together and have too little memory to talk through."""
    room = next((disk.size for disk in facts.disks if disk.mount == "/dev/shm"), None)  # noqa: S108 -- looked at only
    together = any(
        said.parallel.cards > 1 and any(place.host == host for place in said.place)
        for spec in stack.models.values()
        for said in spec.revisions.values()
    )
    if room is not None and room < _SHARED_MEMORY and together:
        text = (
            f"has {room // 2**20} MiB of /dev/shm, must have 1 GiB for cards that work together: NCCL ends without; "
            "choose a larger one where the pod is rented, or one card for each replica"
        )
        yield warning(f"hosts.{host}", text)


def _proxied(said: Gateway, url: str) -> Iterator[Note]:
    """A door behind a provider's proxy: who reaches it, on which port, and how long it waits."""
    for proxy in PROXIES:
        found = re.fullmatch(proxy.pattern, url)
        if found is None:
            continue
        if int(found["port"]) != said.port:
            text = f"leads to port {found['port']}, must lead to {said.port}, on which the gateway listens"
            yield refusal("gateway.url", f"{text}; change one of the two, and expose that port of the pod")
        if said.bind in {"127.0.0.1", "::1", "localhost"}:
            text = f"is {said.bind}, where {proxy.name} does not reach it; must be 0.0.0.0"
            yield refusal("gateway.bind", text)
        text = (
            f"is {proxy.name}, which answers {proxy.status} where nothing has come for {proxy.limit_s:g} s: ask for "
            f"streams where an answer may take longer, or use {proxy.otherwise}"
        )
        yield remark("gateway.url", text)
        if said.hold_limit > proxy.limit_s:
            text = (
                f"is {said.hold_limit:g} s and {proxy.name} waits {proxy.limit_s:g}: a client that is held longer sees "
                f"{proxy.status} instead of 503 with Retry-After; better is {proxy.limit_s - 10:g} s or less"
            )
            yield warning("gateway.hold_limit", text)
