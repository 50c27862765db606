"""One running engine of a revision of a model: started, watched, replaced and taken out of traffic as one thing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from berth.engines.contract import Engine
from berth.engines.registry import ENGINES
from berth.provider.command import Command, put, shell
from berth.provider.docker.gpus import as_asked, caution
from berth.provider.host import Host
from berth.provider.operation import Operation
from berth.provider.operations.process import (
    Supervision,
    definition,
    forget,
    refuse_others,
    remove,
    restart,
    with_cards,
)
from berth.provider.supervision.managers import files
from berth.provider.supervision.service import Service
from berth.provider.supervision.status import status
from berth.provider.supervision.watch import Reader, until_ready
from berth.provider.traffic import Traffic, TrafficState

_DECLARED = (
    *("model", "revision", "engine", "version", "device", "environment", "weights", "served_names"),
    *("arguments", "variables", "port", "cluster"),
)
"""What the start script carries along, to be read back from it."""

_LATER = ("image", "address")

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 -- inside a container, which publishes its port where it is told to


class ReplicaWant(Supervision):
    """An engine; times in seconds.

    `environment` is the folder with the engine's `bin/`, empty for what a container's image has on its PATH, `weights`
    the model folder or what the engine resolves itself, `arguments` the engine's own flags, `variables` its
    environment. `locks` are files, one for each card, held while it starts. `endpoints` is the gateway's file of this
    revision's engines and `admin_port` the gateway's admin interface (both empty without a gateway). `image` is the id
    of the container's image, so that one that moved under its name is a change. `secrets` are values by the name of the
    variable that has them, which reach the engine through files. `address` is where `port` listens. `traffic` is there
    to be observed: whether the gateway sends it requests.
    """

    name: str
    model: str
    revision: str
    engine: str
    version: str
    device: Literal["cuda", "cpu"]
    environment: str
    weights: str
    served_names: list[str]
    arguments: dict[str, Any] = {}
    variables: dict[str, str] = {}
    port: int
    folder: str
    log: str
    locks: list[str] = []
    start_timeout_s: int
    stop_timeout_s: int
    drain_timeout_s: int = 60
    cluster: str = ""
    endpoints: str = ""
    admin_port: int = 0
    image: str = ""
    secrets: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    address: str = _LOOPBACK
    state: Literal["running", "starting", "outdated", "stopped"] = "running"
    definition: Literal["as declared", "edited by hand", "missing"] = "as declared"
    traffic: TrafficState = "serving"

    def service(self) -> Service:
        """The service that runs this engine."""
        engine = ENGINES[self.engine]
        boxed = self.container is not None and self.container.network != "host"
        port = self.container.inside if self.container is not None and boxed else self.port
        argv = engine.command(
            self.environment or None,
            self.weights,
            dict(sorted(self.arguments.items())),  # on their way here they lose their order
            served_names=self.served_names,
            host=_EVERYWHERE if boxed else self.address,
            port=port,
        )
        return Service(
            name=self.name,
            folder=self.folder,
            argv=tuple(argv),
            environment=self.variables,
            working_directory="/" if self.container is None else ".",  # an image has its own
            log=self.log,
            locks=tuple(self.locks),
            ready=tuple(engine.ready_probe(self.environment or None, port)),
            ready_limit_s=self.start_timeout_s,
            stop_timeout_s=self.stop_timeout_s,
            about={key: getattr(self, key) for key in _DECLARED} | self._later(),
            secrets=tuple(sorted(self.secrets)),
            container=self.container,
        )

    def _later(self) -> dict[str, object]:
        """What was added to definitions since; left out where it says nothing, so that older ones stay the same."""
        fields = type(self).model_fields
        return {key: getattr(self, key) for key in _LATER if getattr(self, key) != fields[key].default}

    def route(self) -> Traffic:
        """This engine's place in the gateway's endpoints."""
        return Traffic(
            path=self.endpoints, cluster=self.cluster, address=(_LOOPBACK, self.port), admin_port=self.admin_port
        )


class Replica(Operation[ReplicaWant]):
    """Declares a serving engine."""

    kind = "berth:serving:Replica"
    wants = ReplicaWant
    replace = frozenset({"host", "name", "folder", "init", "unit_prefix", "supervisor_folder", "endpoints"})
    delete_first = True

    def identity(self, want: ReplicaWant) -> str:
        """The service's folder on its host."""
        return f"{want.host}:{want.folder}"

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("pid",)

    async def outputs(self, host: Host, want: ReplicaWant) -> dict[str, Any]:
        """The main process: another one means that what was proved of it must be proved again."""
        found = await status(host.quietly(), want.service(), want.manager())
        return {"pid": found.pid}

    async def observe(self, host: Host, want: ReplicaWant) -> ReplicaWant | None:
        """Reads the start script back, asks what runs, and where the gateway sends requests."""
        manager = want.manager()
        found, traffic = await asyncio.gather(status(host, want.service(), manager), want.route().observe(host))
        if not found.run and found.pid is None:
            return None
        seen = Service.parse(found.run)
        update: dict[str, Any] = {
            "state": found.state,
            "definition": definition(found, seen, manager),
            "traffic": traffic,
        }
        if seen is not None:
            update |= {key: seen.about[key] for key in _DECLARED if key in seen.about}
            update |= {"log": seen.log, "locks": list(seen.locks), "stop_timeout_s": seen.stop_timeout_s}
            update |= {"start_timeout_s": seen.ready_limit_s}
            update |= {"container": as_asked(seen.container)}
            update |= {key: seen.about.get(key, ReplicaWant.model_fields[key].default) for key in _LATER}
            update |= {"secrets": await _secrets(host, want, seen.secrets)}
        return want.model_copy(update=update)

    def steps(self, want: ReplicaWant | None, have: ReplicaWant | None) -> Sequence[Command]:
        """What to do to the service; the traffic around it is `apply`'s."""
        if want is None:
            return [] if have is None else remove(have.service(), have.manager())
        service, manager = want.service(), want.manager()
        if have is None:
            return [*files(manager, service), *manager.load(service), *manager.start(service)]
        if have.state == "running" and self.differing(want.model_copy(update={"traffic": have.traffic}), have) == [
            "definition"
        ]:
            # It runs what is declared; of the files around it, some are another version's or were edited.
            return [*files(manager, service), *manager.load(service)]
        if self._redefined(want, have):
            stop = manager.stop(service)
            return [*stop, *files(manager, service), *manager.load(service), *manager.start(service)]
        return restart(service, manager, have.state)

    async def preflight(self, host: Host, want: ReplicaWant) -> None:
        """A port that somebody else listens on is found before anything is changed."""
        await refuse_others(host, want, want.service(), [want.port])

    async def warnings(self, host: Host, want: ReplicaWant) -> Sequence[str]:
        """What its container may lose."""
        if want.container is None or not want.container.gpus:
            return ()
        said = caution(await host.facts(), want.container.gpus, where=f"{want.name} on {host.name}")
        return (said,) if said else ()

    async def apply(self, host: Host, want: ReplicaWant | None, have: ReplicaWant | None) -> None:
        """Takes the engine out of traffic, changes it, and brings it back once it answers.

        While it is away new requests wait at the gateway. When the new one does not start, the old one is started again
        and the failure raised.
        """
        if want is None:
            if have is not None:
                await have.route().leave(host)
                await _drain(host, have)
                await super().apply(host, None, have)
                await have.route().remove(host)
            return
        want, have = await with_cards(host, want), None if have is None else await with_cards(host, have)
        steps = self.steps(want, have)
        if steps and have is not None and have.state in {"running", "outdated"}:
            async with have.route().turn(host):  # replicas of one revision go one after the other: one always serves
                await have.route().hold(host)
                await _drain(host, have)
                await self._replace(host, want, have, steps)
        else:
            await self._replace(host, want, have, steps)

    async def _replace(self, host: Host, want: ReplicaWant, have: ReplicaWant | None, steps: Sequence[Command]) -> None:
        try:
            await self._start(host, want, steps)
        except Exception:
            await self._go_back(host, want, have)
            raise
        await want.route().join(host)

    def _redefined(self, want: ReplicaWant, have: ReplicaWant) -> bool:
        runs_as_seen = want.model_copy(update={"state": have.state, "traffic": have.traffic})
        return bool(self.differing(runs_as_seen, have))

    async def _start(self, host: Host, want: ReplicaWant, steps: Sequence[Command]) -> None:
        service, manager = want.service(), want.manager()
        before = await status(host.quietly(), service, manager)
        if steps:
            for command in _secret_files(want):
                await host.run(command)
        for command in steps:
            await host.run(command)
        reader = _reader(ENGINES[want.engine])
        await until_ready(host, service, manager, before, limit_s=want.start_timeout_s, reader=reader)

    async def _go_back(self, host: Host, want: ReplicaWant, have: ReplicaWant | None) -> None:
        """The engine that ran before runs again; without one, nothing is left running that cannot start."""
        service, manager = want.service(), want.manager()
        for command in forget(service, manager) if have is None else manager.stop(service):
            await host.run(command)
        if have is None or have.definition != "as declared" or not self._redefined(want, have):
            await want.route().leave(host)
            return
        host.say(f"{want.name} did not start; bringing the old one back")
        service, manager = have.service(), have.manager()
        steps = [*files(manager, service), *manager.load(service), *manager.start(service)]
        await self._start(host, have, steps)
        await have.route().join(host)


def _secret_files(want: ReplicaWant) -> Sequence[Command]:
    """A file for each secret, which only its owner can read: whoever runs containers, or the engine itself."""
    clear = shell('rm -rf -- "$1/secrets"', want.folder, says=f"clearing the secrets of {want.name}")
    write = (
        put(f"{want.folder}/secrets/{name}", value, mode="0600", says=f"writing the secret {name} of {want.name}")
        for name, value in sorted(want.secrets.items())
    )
    return [clear, *write]


_DIGESTS = """
for name in "$@"; do
  if [ -f "$name" ]; then sha256sum < "$name" | cut -d' ' -f1; else echo missing; fi
done
"""


async def _secrets(host: Host, want: ReplicaWant, there: Sequence[str]) -> dict[str, str]:
    """The secrets as they lie on the host; one that was changed there is not shown."""
    if not there:
        return {}
    paths = [f"{want.folder}/secrets/{name}" for name in there]
    digests = (await host.run(shell(_DIGESTS, *paths, says=f"looking at the secrets of {want.name}"))).stdout.split()
    values = [want.secrets.get(name, "") for name in there]
    return {
        name: value if hashlib.sha256(value.encode()).hexdigest() == digest else "another"
        for name, value, digest in zip(there, values, digests, strict=True)
    }


# The client's end of a connection is on this host whoever publishes the port. Whose it is shows in the descriptors of
# the gateway, known by the port of its administration; where they cannot be read, everybody's connections count. A
# gateway that does not run sends nothing.
_CONNECTIONS = """
open() {
  awk -v "port=:$1" -v "state=$2" '$4 == state && $'"$3"' ~ port "$" { print $10 }' /proc/net/tcp /proc/net/tcp6
}
port=$(printf '%04X' "$1") limit=$2 gateway=
listening=$(open "$(printf '%04X' "$3")" 0A 2 2> /dev/null | head -n 1)
if [ -z "$listening" ] && [ "$3" -ne 0 ]; then exit 0; fi
if [ -n "$listening" ]; then
  for one in /proc/[0-9]*/fd; do
    if ls -l "$one" 2> /dev/null | grep -qF "socket:[$listening]"; then gateway=$one; break; fi
  done
fi
while [ "$limit" -gt 0 ]; do
  found=$(open "$port" 01 3 2> /dev/null || :)
  if [ -n "$gateway" ] && [ -n "$found" ]; then
    found=$(ls -l "$gateway" 2> /dev/null | grep -F "$(printf 'socket:[%s]\\n' $found)" || :)
  fi
  if [ -z "$found" ]; then exit 0; fi
  limit=$((limit - 1))
  sleep 1
done
"""


async def _drain(host: Host, have: ReplicaWant) -> None:
    """Waits until the gateway has no connection to the engine: it closes each when its last answer is complete.

    Others keep theirs: who measures engines asks again and again on one connection.
    """
    arguments = (str(have.port), str(have.drain_timeout_s), str(have.admin_port))
    says = f"{have.name}: waiting for running requests"
    await host.run(shell(_CONNECTIONS, *arguments, says=says, timeout_s=have.drain_timeout_s + 30))


def _reader(engine: Engine) -> Reader:
    def explain(lines: Sequence[str]) -> str:
        failure = engine.explain(lines)
        return "" if failure is None else str(failure)

    return Reader(progress=engine.progress, explain=explain, hopeless=engine.startup_terminal)
