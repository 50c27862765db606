"""An engine that runs already, taken into a stack as it is: seen, routed to, never changed; and taken over when asked.

Its container stays as somebody made it. What the stack file says of it is held against its command line, read back into
the same words, so that an edit on either side shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from berth.engines.registry import ENGINES
from berth.provider.command import Command, shell
from berth.provider.diff import changes
from berth.provider.errors import BadInput, StartFailed
from berth.provider.host import Host
from berth.provider.http import get
from berth.provider.operation import Operation, Want
from berth.provider.supervision.card_memory import until_given_back
from berth.provider.supervision.drain import drain
from berth.provider.traffic import Traffic, TrafficState
from berth.running import SCRIPT, Container, Line, Process, meaning, parse, read

_LOOPBACK = "127.0.0.1"
_PAUSE_S = 0.3

_START = 'docker start "$1" > /dev/null'

# Docker starts one of the policy `always` again when it starts itself, however it was stopped.
_STOP = """
case $(docker container inspect --format '{{.HostConfig.RestartPolicy.Name}}' "$1") in
  always | on-failure) docker update --restart unless-stopped "$1" > /dev/null ;;
esac
docker stop --time "$2" "$1" > /dev/null
"""


class AdoptedReplicaWant(Want):
    """A running engine; times in seconds.

    `container` is its container's name; empty is the process outside of containers that listens on `port`. `says` is
    what the stack file says of its command line, `image` what it says of its image (empty: nothing), `card_memory` one
    card's total in bytes as CUDA reports it. `endpoints` is the gateway's file of its revision's engines, `admin_port`
    the gateway's admin interface (both empty without a gateway). With `take` it is stopped, and what has waited at the
    gateway is answered by the engine that comes on its port. `state` and `traffic` are there to be observed.
    """

    name: str
    model: str
    engine: str
    version: str
    container: str = ""
    port: int
    says: dict[str, Any] = {}
    image: str = ""
    card_memory: int = 0
    start_timeout_s: int = 600
    stop_timeout_s: int = 30
    drain_timeout_s: int = 60
    cluster: str = ""
    endpoints: str = ""
    admin_port: int = 0
    take: bool = False
    state: Literal["running", "stopped", "taken"] = "running"
    traffic: TrafficState = "serving"

    @property
    def where(self) -> str:
        """How a person finds it on its host."""
        return f"container {self.container}" if self.container else f"the process that listens on port {self.port}"

    def route(self) -> Traffic:
        """Its place in the gateway's endpoints."""
        return Traffic(
            path=self.endpoints, cluster=self.cluster, address=(_LOOPBACK, self.port), admin_port=self.admin_port
        )


class AdoptedReplica(Operation[AdoptedReplicaWant]):
    """Declares an engine that somebody else has started."""

    kind = "berth:serving:AdoptedReplica"
    wants = AdoptedReplicaWant
    replace = frozenset({"host", "name", "container", "endpoints"})
    delete_first = True

    def identity(self, want: AdoptedReplicaWant) -> str:
        """Where it runs."""
        return f"{want.host}:{want.container or want.port}"

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("pid", "freed")

    async def outputs(self, host: Host, want: AdoptedReplicaWant) -> dict[str, Any]:
        """Its main process, and the port for whoever comes after it: known only when it has been stopped."""
        return {"pid": (await _seen(host, want)).pid, "freed": want.port}

    async def observe(self, host: Host, want: AdoptedReplicaWant) -> AdoptedReplicaWant | None:
        """Reads its command line, whether it runs, and where the gateway sends requests."""
        seen, traffic = await asyncio.gather(_seen(host, want), want.route().observe(host))
        if want.take:
            # What comes after it has its place at the gateway.
            return want.model_copy(update={"state": "running" if seen.running else "taken"})
        if seen.line is None or seen.line.engine != want.engine:
            return None
        said = meaning(seen.line, want.card_memory or None)
        update: dict[str, Any] = {"state": "running" if seen.running else "stopped", "traffic": traffic}
        update |= {"says": dict(said.says), "port": seen.port(said.port)}
        if want.image and seen.image and want.image not in seen.images:
            update["image"] = seen.image
        return want.model_copy(update=update)

    def steps(self, want: AdoptedReplicaWant | None, have: AdoptedReplicaWant | None) -> Sequence[Command]:
        """It is started where it was stopped, and stopped where it is taken over; nothing else is done to it."""
        if want is None or have is None:
            return []
        if want.take and have.state == "running":
            limit_s = want.stop_timeout_s
            stop = shell(_STOP, want.container, str(limit_s), says=f"stopping {want.where}", timeout_s=limit_s + 30)
            return [replace(stop, docker=True)]
        if not want.take and have.state == "stopped" and want.container:
            return [_start(want.container)]
        return []

    async def preflight(self, host: Host, want: AdoptedReplicaWant) -> None:
        """It must be there, and be what the stack file says.

        Raises:
            BadInput: it is not.
        """
        have = await self.observe(host, want)
        where = f"models.{want.model}.adopt"
        if have is None:
            raise BadInput(
                f"{where}: {want.where} is not on {host.name} or runs no {want.engine}; start it, or remove adopt so "
                "that Berth starts an engine of its own"
            )
        if have.state == "stopped" and not want.container:
            raise BadInput(f"{where}: {want.where} has ended; start it, or remove adopt")
        if differs := list(_unlike(want, have)):
            raise BadInput(
                f"{where}: {want.where} is not what the stack file says: {'; '.join(differs)}; write what runs "
                "(`berth import` says it), or let Berth replace it with `take: true` there"
            )

    async def warnings(self, host: Host, want: AdoptedReplicaWant) -> Sequence[str]:
        """What it lacks of an engine of Berth's own, or that it is going to be stopped."""
        seen = await _seen(host, want)
        if want.take:
            return [f"{want.where} on {host.name} is stopped, and Berth's own takes its place"] if seen.running else []
        lacks = list(_lacks(want, seen.container))
        title = f"{want.where} on {host.name} is left as it is; `take: true` in models.{want.model}.adopt would add"
        return [f"{title}: {lack}" for lack in lacks]

    async def apply(self, host: Host, want: AdoptedReplicaWant | None, have: AdoptedReplicaWant | None) -> None:
        """Gives it its place at the gateway, or takes that away; the engine itself stays.

        While one is taken over, new requests wait at the gateway for the one that comes after it.
        """
        if want is None:
            if have is not None and have.state == "running" and not have.take:
                await have.route().leave(host)
                await have.route().remove(host)
            return
        if want.take:
            await want.route().hold(host)
            await drain(host, want.name, port=want.port, admin_port=want.admin_port, limit_s=want.drain_timeout_s)
            await super().apply(host, want, have)
            await until_given_back(host, want.name)  # what comes on its card starts as soon as this is done
            return
        await super().apply(host, want, have)
        limit_s = want.start_timeout_s
        await _answers(host, want.where, name=want.name, engine=want.engine, port=want.port, limit_s=limit_s)
        await want.route().join(host)


async def brought_back(host: Host, container: str, name: str, *, engine: str, port: int, limit_s: int) -> None:
    """Starts a container that was taken over, whose successor does not start, and waits until it answers again.

    Raises:
        ProviderError: it does not start, or does not answer in time.
    """
    host.say(f"{name} did not start; starting container {container} again")
    await host.run(_start(container))
    await _answers(host, f"container {container}", name=name, engine=engine, port=port, limit_s=limit_s)


def _start(container: str) -> Command:
    return replace(shell(_START, container, says=f"starting container {container}"), docker=True)


async def _answers(host: Host, where: str, *, name: str, engine: str, port: int, limit_s: int) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    path = ENGINES[engine].health_path
    while (answer := await get(host, port, path)) is None or not answer.ok:
        waited = loop.time() - begin
        if waited > limit_s:
            raise StartFailed(
                f"{name} on {host.name}: {where} does not answer {path} on port {port} within {limit_s} s; look at "
                "what it says (`docker logs`)"
            )
        host.say(f"{name}: waiting for {path} on port {port}, {waited:.0f} of {limit_s} s")
        await asyncio.sleep(_PAUSE_S)


class _Seen:
    """One engine as it was found; nothing where there is none."""

    def __init__(self, container: Container | None, process: Process | None, line: Line | None) -> None:
        self.container, self.line = container, line
        self.running = container.running if container is not None else process is not None
        self.pid = container.pid if container is not None else process.pid if process is not None else 0
        self.image = container.image if container is not None else ""
        self.images = (self.image, *container.digests) if container is not None else ()

    def port(self, inside: int) -> int:
        """Where its host listens for it; 0 for nowhere."""
        if self.container is None:
            return inside
        outside = self.container.outside(inside)
        return outside.port if outside is not None else 0


async def _seen(host: Host, want: AdoptedReplicaWant) -> _Seen:
    says = f"looking at {want.where}"
    found = parse((await host.quietly().run(replace(shell(SCRIPT, want.container, says=says), docker=True))).stdout)
    if want.container:
        container = next((one for one in found.containers if one.name == want.container), None)
        line = None if container is None else read(container.words, container.environment, want.version)
        return _Seen(container, None, line)
    for process in found.processes:
        line = read(process.words, process.environment, want.version)
        if process.container is None and line is not None and meaning(line).port == want.port:
            return _Seen(None, process, line)
    return _Seen(None, None, None)


def _unlike(want: AdoptedReplicaWant, have: AdoptedReplicaWant) -> Iterator[str]:
    """What the stack file says otherwise than the engine runs."""
    if want.take:
        return
    for change in changes(have.says, want.says):
        yield f"{change.path} is {_at(have.says, change.path)} there and {_at(want.says, change.path)} here"
    if want.port != have.port:
        yield f"its port is {have.port or 'not published'} there and {want.port} here"
    if want.image != have.image:
        yield f"its image is {have.image} there and {want.image} here"


def _at(values: Any, path: str) -> str:
    for part in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(values, dict):
            values = values.get(part.strip('"'))
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            values = None
    return "not said" if values is None else str(values)


def _lacks(want: AdoptedReplicaWant, container: Container | None) -> Iterator[str]:
    """What Berth's own would have."""
    if container is None:
        yield "a service that is started again, a log of its own, and the lock of its card at each start"
        return
    yield "labels, by which `docker ps` and Berth find it whatever it is called"
    if container.tag and not container.digests:
        yield f"a pinned image: {container.image} has no digest here"
    elif container.tag == "latest":
        yield f"a pinned image: {container.image} moves, {container.digests[0]} is what runs"
    published = [port for port in container.ports if port.port == want.port]
    if any(port.address != _LOOPBACK for port in published):
        yield f"a port on loopback: whoever reaches port {want.port} there uses the engine without a key"
    yield "the lock of its card: after a reboot all engines of a card profile its memory at the same time"
    if container.log_driver == "json-file" and "max-size" not in container.log_options:
        yield "limits of its log, which grows without end"
    if container.restart in {"", "no"}:
        yield "a restart policy: it stays down after a crash"
