"""What can be seen from outside of what runs on a host: room on its disks, and who listens on the planned ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from berth.catalogue.units import Bytes
from berth.facts.model import Disk
from berth.planner.plan import GatewayPlan
from berth.planner.readiness import Check, State, Subject

_LITTLE = Bytes.from_gib(10)
"""An engine's image or environment takes some 10 GiB."""


def disk_checks(subject: Subject) -> Iterator[Check]:
    """Room where the stack writes, and where Docker keeps its images."""
    facts = subject.facts
    root = subject.host.root.replace("~", facts.home, 1) if subject.host.root.startswith("~") else subject.host.root
    places = {str(PurePosixPath(facts.home, root)): "the stack's folder"}
    if subject.needs_docker and facts.docker.root is not None:
        # From Docker 29 on a new installation keeps its images in containerd's folder, not in its own.
        places |= {facts.docker.root: "Docker", "/var/lib/containerd": "images"}
    seen: dict[str, tuple[Disk, list[str]]] = {}
    for path, what in places.items():
        disk = _below(facts.disks, path)
        if disk is not None:
            seen.setdefault(disk.mount, (disk, []))[1].append(what)
    for disk, uses in seen.values():
        have = f"{Bytes(disk.free)} of {Bytes(disk.size)} are free on {disk.mount} ({', '.join(uses)})"
        if disk.free >= _LITTLE:
            yield Check(state=State.OK, about="disk", have=have)
        else:
            todo = "remove what is not used, such as old images and weights"
            yield Check(state=State.WARN, about="disk", have=have, must=f"{_LITTLE} or more", todo=todo)


def service_checks(subject: Subject, gateway: GatewayPlan | None) -> Iterator[Check]:
    """Whether the engines and the gateway listen; where none of them does, the stack is not up there."""
    planned = {replica.port: replica.name for replica in subject.replicas}
    if gateway is not None and gateway.host == subject.host.name:
        planned[gateway.port] = "the gateway"
    if not planned or "ports" in subject.facts.unread:
        return
    silent = {port: name for port, name in planned.items() if port not in subject.facts.ports}
    if len(silent) == len(planned):
        have = "nothing of the stack runs there"
        yield Check(state=State.OK, about="services", have=f"{have}; `pulumi up` starts it")
        return
    for port, name in silent.items():
        have = f"nothing listens on port {port}"
        todo = "`pulumi up` repairs it; its log is in the stack's folder there"
        yield Check(state=State.FAIL, about="services", have=have, must=name, todo=todo)
    if not silent:
        yield Check(state=State.OK, about="services", have=f"{', '.join(planned.values())} listen")


def _below(disks: tuple[Disk, ...], path: str) -> Disk | None:
    """The file system that a path lies on."""
    holding = [disk for disk in disks if PurePosixPath(path).is_relative_to(disk.mount)]
    return max(holding, key=lambda disk: len(disk.mount), default=None)
