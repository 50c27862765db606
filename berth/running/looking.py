"""How a machine is asked what runs there: one POSIX-sh script that only reads, and what its answer says."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from berth.facts.gathering.sections import Sections, lines, sections

SCRIPT: Final = files(__package__).joinpath("look.sh").read_text(encoding="utf-8")

_MODEL = re.compile(r"/models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/refs/main$")
_SERVICE = re.compile(r"/services/[^/]+/run\b")
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A port of a container that its host publishes; `address` is where, empty for everywhere."""

    inside: int
    address: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A folder of the host in a container."""

    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container as Docker describes it.

    `image` is what it was made from as somebody wrote it, `digests` are the registries' names of the same by content.
    `environment` is what was given to it beside its image's own. `devices` are the cards that it was asked to have:
    indices, uuids or `all`; a number that starts with `#` is how many.
    """

    id: str
    name: str
    image: str
    digests: tuple[str, ...]
    words: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    network: str
    ports: tuple[Published, ...]
    mounts: tuple[Mount, ...]
    devices: tuple[str, ...]
    restart: str
    log_driver: str
    log_options: Mapping[str, str]
    running: bool
    pid: int
    started: str

    @property
    def repository(self) -> str:
        """The image's name without tag and digest."""
        name = self.image.partition("@")[0]
        head, slash, tail = name.rpartition("/")
        return head + slash + tail.partition(":")[0]

    @property
    def tag(self) -> str:
        """The image's tag; `latest` where none is said, empty with a digest alone."""
        name, _, digest = self.image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        return tag or ("" if digest else "latest")

    def outside(self, inside: int) -> Published | None:
        """Where the host listens for a port of the container; on the host's network it is the same."""
        if self.network == "host":
            return Published(inside=inside, address="", port=inside)
        return next((port for port in self.ports if port.inside == inside), None)

    def on_host(self, path: str) -> str | None:
        """Where a path of the container lies on the host; None for what is the container's own."""
        over = [one for one in self.mounts if path == one.target or path.startswith(one.target.rstrip("/") + "/")]
        if not over:
            return None
        mount = max(over, key=lambda one: len(one.target))
        return mount.source + path[len(mount.target.rstrip("/")) :]


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of the host; `started_by` is the command line of its parent."""

    pid: int
    parent: int
    started_by: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    cgroup: str

    @property
    def container(self) -> str | None:
        """The id of the container that it runs in."""
        found = _ID.search(self.cgroup)
        return found[0] if found else None

    @property
    def ours(self) -> bool:
        """Whether it is a service of a stack of Berth: by its systemd unit, or by who runs it."""
        return "/berth-" in self.cgroup or _SERVICE.search(self.started_by) is not None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What runs on a machine.

    `proxies` are configurations of nginx that are there, `commits` those that its caches have of models' main branches,
    by repository.
    """

    containers: tuple[Container, ...] = ()
    processes: tuple[Process, ...] = ()
    proxies: tuple[str, ...] = ()
    commits: Mapping[str, str] = field(default_factory=dict)

    @property
    def outside(self) -> tuple[Process, ...]:
        """The processes that run in none of its containers."""
        inside = {one.id for one in self.containers}
        return tuple(one for one in self.processes if one.container not in inside)


def parse(text: str) -> Look:
    """What the script's answer says.

    Raises:
        ValueError: the text is not the script's, or not all of it.
    """
    found = sections(text)
    if "end" not in found:
        raise ValueError("the answer to the question for what runs is cut off")
    return Look(
        containers=tuple(_containers(found)),
        processes=tuple(_processes(found)),
        proxies=tuple(_decoded(line) for line in lines(found, "proxies")),
        commits=dict(_commits(found)),
    )


def _containers(found: Sections) -> Iterator[Container]:
    images = {name: (digests or (), env or ()) for name, digests, env in map(json.loads, lines(found, "images"))}
    # Docker lists the newest first; who started them had an order in mind.
    for said in sorted(_json(found.get("containers", "")), key=lambda said: str(said.get("Created", ""))):
        digests, given = images.get(said["Image"], ((), ()))
        yield _container(said, digests, set(given))


def _json(text: str) -> Sequence[Any]:
    try:
        return list(json.loads(text))
    except ValueError:  # no Docker, or none that answers
        return ()


def _container(said: Mapping[str, Any], digests: Sequence[str], given: set[str]) -> Container:
    config, host, state = said["Config"], said["HostConfig"], said["State"]
    log = host.get("LogConfig") or {}
    environment = [entry for entry in config.get("Env") or () if entry not in given]
    return Container(
        id=said["Id"],
        name=said["Name"].lstrip("/"),
        image=config["Image"],
        digests=tuple(digests),
        words=(said["Path"], *said.get("Args", ())),
        environment=_environment(environment),
        labels=config.get("Labels") or {},
        network=host.get("NetworkMode", ""),
        ports=tuple(_published(host.get("PortBindings") or {})),
        mounts=tuple(
            Mount(source=one["Source"], target=one["Destination"])
            for one in said.get("Mounts") or ()
            if one.get("Source") and one.get("Type") == "bind"
        ),
        devices=_devices(host, _environment(config.get("Env") or ())),
        restart=(host.get("RestartPolicy") or {}).get("Name", ""),
        log_driver=log.get("Type", ""),
        log_options=log.get("Config") or {},
        running=bool(state.get("Running")) and not state.get("Paused") and not state.get("Restarting"),
        pid=int(state.get("Pid") or 0),
        started=str(state.get("StartedAt", "")),
    )


def _environment(entries: Sequence[str]) -> dict[str, str]:
    return {name: value for name, equals, value in (entry.partition("=") for entry in entries) if equals}


def _published(bindings: Mapping[str, Any]) -> Iterator[Published]:
    for inside, outside in bindings.items():
        number, _, protocol = inside.partition("/")
        for one in outside or ():
            if protocol == "tcp" and str(one.get("HostPort", "")).isdecimal():
                everywhere = {None, "", "0.0.0.0", "::"}  # noqa: S104 - what a port is published on, no address to bind
                address = "" if one.get("HostIp") in everywhere else one["HostIp"]
                yield Published(inside=int(number), address=address, port=int(one["HostPort"]))


def _devices(host: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[str, ...]:
    """By `--gpus` and compose's reservations, by names of CDI, or by the runtime `nvidia` and its variable."""
    asked: list[str] = []
    for request in host.get("DeviceRequests") or ():
        wanted = {word for group in request.get("Capabilities") or () for word in group}
        if request.get("Driver") not in {"nvidia", "cdi"} and "gpu" not in wanted:
            continue
        names = [str(name).rpartition("=")[2] for name in request.get("DeviceIDs") or ()]
        count = int(request.get("Count") or 0)
        asked += names or ["all" if count < 0 else f"#{count}"]
    if not asked and host.get("Runtime") == "nvidia":
        asked = [word for word in environment.get("NVIDIA_VISIBLE_DEVICES", "").split(",") if word not in {"", "void"}]
    return tuple(dict.fromkeys(asked))


def _processes(found: Sections) -> Iterator[Process]:
    for line in lines(found, "processes"):
        pid, parent, *rest = line.split()
        words, environment, cgroup, above = (_decoded(part.removeprefix("x")) for part in rest)
        if words:
            yield Process(
                pid=int(pid),
                parent=int(parent),
                started_by=above,
                words=tuple(words.removesuffix("\0").split("\0")),
                environment=_environment(environment.split("\0")),
                cgroup=cgroup,
            )


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode(errors="replace")
    except binascii.Error:
        return ""


def _commits(found: Sections) -> Iterator[tuple[str, str]]:
    for line in lines(found, "commits"):
        commit, _, path = line.partition(" ")
        named = _MODEL.search(path)
        if named is not None and re.fullmatch(r"[0-9a-f]{40}", commit):
            yield f"{named['owner']}/{named['name']}", commit
