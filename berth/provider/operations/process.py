"""A long-running process on a host, kept by systemd or supervisord and started through the runner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field

from berth.provider import legacy_gpus
from berth.provider.command import Command, shell
from berth.provider.docker.container import Container
from berth.provider.docker.gpus import access, as_asked
from berth.provider.docker.manager import Docker
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import Operation, Want
from berth.provider.supervision.managers import Manager, Supervisord, Systemd, files
from berth.provider.supervision.ports import refuse_taken
from berth.provider.supervision.service import Service
from berth.provider.supervision.status import Status, faithful, status
from berth.provider.supervision.watch import Reader, until_ready


class Supervision(Want):
    """Who keeps a service running. `unit_prefix` starts the names of systemd's units and of containers.

    The two of supervisord are for it alone. With `container` it is Docker, whatever `init` says of the host.
    """

    init: Literal["systemd", "supervisord"]
    unit_prefix: str = "berth"
    supervisor_folder: str = ""
    supervisorctl: str = ""
    name: str
    container: Container | None = None

    def manager(self) -> Manager:
        """The builder of its files and commands."""
        if self.container is not None:
            return Docker(self.unit_prefix)
        if self.init == "systemd":
            return Systemd(self.unit_prefix)
        return Supervisord(self.supervisor_folder, self.supervisorctl)


S = TypeVar("S", bound=Supervision)


class ProcessWant(Supervision):
    """A process; times in seconds. `ports` are what it listens on, refused beforehand when somebody else does.

    `image` is the id of its container's image, so that one that moved under its name is a change.

    `state` and `definition` are there to be observed: the process runs what is declared, in files that nobody edited.
    """

    folder: str
    argv: list[str] = Field(min_length=1)
    environment: dict[str, str] = {}
    working_directory: str = "/"
    log: str
    restart: Literal["always", "on-failure", "never"] = "always"
    ready: list[str] = []
    start_timeout_s: int = 60
    stop_signal: str = "TERM"
    stop_timeout_s: int = 30
    ports: list[int] = []
    image: str = ""
    state: Literal["running", "starting", "outdated", "stopped"] = "running"
    definition: Literal["as declared", "edited by hand", "missing"] = "as declared"

    def service(self) -> Service:
        """The service that this declares."""
        return Service(
            name=self.name,
            folder=self.folder,
            argv=tuple(self.argv),
            environment=self.environment,
            working_directory=self.working_directory,
            log=self.log,
            restart=self.restart,
            ready=tuple(self.ready),
            ready_limit_s=self.start_timeout_s,
            stop_signal=self.stop_signal,
            stop_timeout_s=self.stop_timeout_s,
            about={"ports": self.ports} | ({"image": self.image} if self.image else {}),
            container=self.container,
        )


class Process(Operation[ProcessWant]):
    """Declares a running process."""

    kind = "berth:host:Process"
    wants = ProcessWant
    replace = frozenset({"host", "name", "folder", "init", "unit_prefix", "supervisor_folder"})
    delete_first = True

    def identity(self, want: ProcessWant) -> str:
        """The service's folder on its host."""
        return f"{want.host}:{want.folder}"

    async def observe(self, host: Host, want: ProcessWant) -> ProcessWant | None:
        """Reads the start script back and asks what runs."""
        found = await status(host.quietly(), want.service(), want.manager())
        if not found.run and found.pid is None:
            return None
        seen = Service.parse(found.run)
        update: dict[str, Any] = {"state": found.state, "definition": definition(found, seen, want.manager())}
        if seen is not None:
            fields = seen.model_dump(mode="json", include=_SHARED) | {"start_timeout_s": seen.ready_limit_s}
            update |= fields | {"ports": seen.about.get("ports", []), "container": as_asked(seen.container)}
            update["image"] = seen.about.get("image", "")
        return want.model_copy(update=update)

    def steps(self, want: ProcessWant | None, have: ProcessWant | None) -> Sequence[Command]:
        """Writes and loads a new definition, and starts it; a changed one after what runs has stopped."""
        if want is None:
            return [] if have is None else remove(have.service(), have.manager())
        service, manager = want.service(), want.manager()
        if have is None:
            return [*files(manager, service), *manager.load(service), *manager.start(service)]
        if have.state == "running" and self.differing(want, have) == ["definition"]:
            # It runs what is declared; of the files around it, some are another version's or were edited.
            return [*files(manager, service), *manager.load(service)]
        if self.differing(want.model_copy(update={"state": have.state}), have):
            return [
                *manager.stop(service),
                *files(manager, service),
                *manager.load(service),
                *manager.start(service),
            ]
        return restart(service, manager, have.state)

    async def preflight(self, host: Host, want: ProcessWant) -> None:
        """A port that somebody else listens on is found before anything is changed."""
        await refuse_others(host, want, want.service(), want.ports)

    async def warnings(self, host: Host, want: ProcessWant) -> Sequence[str]:
        """What a daemon-reload takes from others' containers."""
        return await before_reload(host, self, want)

    async def apply(self, host: Host, want: ProcessWant | None, have: ProcessWant | None) -> None:
        """Runs the steps, then waits until the process is ready; one that does not start is left stopped."""
        if want is None:
            await super().apply(host, want, have)
            return
        want = await with_cards(host, want)
        service, manager = want.service(), want.manager()
        before = await status(host.quietly(), service, manager)
        await super().apply(host, want, have)
        try:
            await until_ready(host, service, manager, before, limit_s=want.start_timeout_s, reader=Reader())
        except Exception:
            for command in manager.stop(service):
                await host.run(command)
            raise


async def before_reload(host: Host, operation: Operation[S], want: S) -> Sequence[str]:
    """What a preview says where a unit of systemd will come or change: only then is what runs looked at."""
    if not isinstance(want.manager(), Systemd):
        return ()
    return await legacy_gpus.before(host, operation.steps(want, await operation.observe(host.quietly(), want)))


async def with_cards(host: Host, want: S) -> S:
    """The declaration with the way in which this host gives a container its cards.

    Raises:
        BadInput: it knows no way.
    """
    if want.container is None or not want.container.gpus:
        return want
    found = access(await host.facts(), want.container.gpus, where=f"{want.name} on {host.name}")
    return want.model_copy(update={"container": want.container.model_copy(update={"access": found})})


async def refuse_others(host: Host, want: Supervision, service: Service, ports: Sequence[int]) -> None:
    """Makes sure that nobody but the service itself, which will be stopped before, listens on its ports.

    Raises:
        BadInput: somebody does; each port is named with the process.
    """
    manager = want.manager()
    found = await status(host.quietly(), service, manager)
    if isinstance(manager, Docker):
        ports = await _held_by_none(host, service, manager, ports, found)
    await refuse_taken(host, ports, for_whom=service.name, session=found.pid)


async def _held_by_none(
    host: Host, service: Service, manager: Docker, ports: Sequence[int], found: Status
) -> Sequence[int]:
    """The ports that no container has: in the name of one of bridges Docker listens, which says little to a person."""
    own, mine = manager.name(service), set[int]()
    for line in (await host.run(manager.publishing(ports))).stdout.splitlines() if ports else ():
        port, name, *made_for = line.split(" ")
        if own not in {name, *made_for}:
            raise BadInput(
                f"{service.name} on {host.name}: port {port} is used by the container {name}; choose another port in "
                "the stack file, or stop that container"
            )
        mine.add(int(port))
    seen = Service.parse(found.run)
    if found.pid is not None and seen is not None and seen.container is not None and seen.container.network == "host":
        mine.update(ports)  # what it listens on itself
    return [port for port in ports if port not in mine]


_SHARED = {"argv", "environment", "working_directory", "log", "restart", "ready", "stop_signal", "stop_timeout_s"}


def definition(
    found: Status, seen: Service | None, manager: Manager
) -> Literal["as declared", "edited by hand", "missing"]:
    """Whether the files of a service are what Berth wrote."""
    if not found.run or not found.unit:
        return "missing"
    if seen is None or found.unit != manager.unit(seen) or not faithful(found):
        return "edited by hand"
    return "as declared"


def restart(service: Service, manager: Manager, state: str) -> Sequence[Command]:
    """What makes a service of an unchanged definition run; nothing for one that is on its way already.

    A stopped one is loaded as well: an update may have been killed between writing its files and that.
    """
    if state == "outdated":
        return [*manager.stop(service), *manager.start(service)]
    return [] if state in {"starting", "running"} else [*manager.load(service), *manager.start(service)]


_REMOVE = """
rm -rf -- "$1"
rm -f -- "$2" "$2".1 "$2".2 "$2".3
rmdir -- "$(dirname -- "$1")" "$(dirname -- "$2")" 2> /dev/null || :
"""


def forget(service: Service, manager: Manager) -> Sequence[Command]:
    """Makes sure that a service that never started is not started by its manager either; its log is kept to be read."""
    clear = shell('rm -rf -- "$1"', service.folder, says=f"clearing {service.name}")
    return [*manager.stop(service), *manager.unload(service), clear]


def remove(service: Service, manager: Manager) -> Sequence[Command]:
    """Stops a service and leaves nothing of it, its log included."""
    return [
        *manager.stop(service),
        *manager.unload(service),
        shell(_REMOVE, service.folder, service.log, says=f"removing {service.name}"),
    ]
