"""One running engine of a revision of a model: started, watched, replaced and taken out of traffic as one thing.

A replacement is one update, whose every step can be the last that a killed one took; the next update goes on from what
it sees. The ways are:

- **hold**: requests wait at the gateway, running ones end, the old engine stops, its memory is given back, the new one
  starts, answers, and gets what has waited. When it does not, the old one is started again.
- **surge**: a second engine of the new definition starts beside the old one and takes over once it answers. Then the
  first is replaced in its own place, gets the requests back, and the second ends. So name, port and log stay the same
  for all who know them. When the second does not answer, the old one was never touched.
- **refuse**: the stack forbids a gap and there is no room for a surge; nothing is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from berth.engines.contract import Engine
from berth.engines.registry import ENGINES
from berth.provider.asking import Client, Unsatisfied, Way
from berth.provider.command import Command
from berth.provider.docker.gpus import as_asked, caution
from berth.provider.errors import BadInput, ProviderError, StartFailed
from berth.provider.host import Host
from berth.provider.operation import Operation
from berth.provider.operations.adopted_replica import brought_back
from berth.provider.operations.process import (
    before_reload,
    definition,
    forget,
    refuse_others,
    remove,
    restart,
    with_cards,
)
from berth.provider.replica import DECLARED, GUIDES, LATER, SECRETS_OPEN, ReplicaWant
from berth.provider.supervision.card_memory import until_given_back
from berth.provider.supervision.drain import drain
from berth.provider.supervision.managers import files
from berth.provider.supervision.secrets import secret_files, seen_secrets
from berth.provider.supervision.service import Service
from berth.provider.supervision.status import status
from berth.provider.supervision.watch import Reader, until_ready
from berth.provider.supervision.way_back import has_served, secrets_back, settled


class Replica(Operation[ReplicaWant]):
    """Declares a serving engine."""

    kind = "berth:serving:Replica"
    wants = ReplicaWant
    replace = frozenset({"host", "name", "folder", "init", "unit_prefix", "supervisor_folder", "endpoints"})
    delete_first = True
    guides = GUIDES
    late = frozenset({"image", "secrets", "weights"})

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
        service, second = want.service(), want.second()
        found, spare, traffic = await asyncio.gather(
            status(host, service, want.manager()),
            status(host, second.service(), second.manager()),
            want.route().observe(host),
        )
        if not found.run and found.pid is None:
            return None
        seen = Service.parse(found.run)
        update: dict[str, Any] = {
            "state": found.state,
            "definition": definition(found, seen, want.manager()),
            "traffic": traffic,
            "spare": "left behind" if spare.there else "none",
        }
        if seen is not None:
            update |= {key: seen.about[key] for key in DECLARED if key in seen.about}
            update |= {"log": seen.log, "locks": list(seen.locks), "stop_timeout_s": seen.stop_timeout_s}
            update |= {"start_timeout_s": seen.ready_limit_s}
            update |= {"container": as_asked(seen.container)}
            update |= {key: seen.about.get(key, ReplicaWant.model_fields[key].default) for key in LATER}
            update["secrets"], closed = await seen_secrets(host, want.name, want.folder, want.secrets, seen.secrets)
            if update["definition"] == "as declared" and not closed:
                update["definition"] = SECRETS_OPEN
        return want.model_copy(update=update)

    def steps(self, want: ReplicaWant | None, have: ReplicaWant | None) -> Sequence[Command]:
        """What to do to the service; the traffic around it is `apply`'s."""
        if want is None:
            return [] if have is None else remove(have.service(), have.manager())
        service, manager = want.service(), want.manager()
        if have is None:
            return [*files(manager, service), *manager.load(service), *manager.start(service)]
        if self._only_its_files(want, have):
            # It runs what is declared; of the files around it, some are another version's or were edited.
            return [*files(manager, service), *manager.load(service)]
        if self._redefined(want, have):
            stop = manager.stop(service)
            return [*stop, *files(manager, service), *manager.load(service), *manager.start(service)]
        return restart(service, manager, have.state)

    async def preflight(self, host: Host, want: ReplicaWant) -> None:
        """A port that somebody else listens on, and a gap that the stack forbids, are found before anything is changed.

        Raises:
            BadInput: one of the two.
        """
        await refuse_others(host, want, want.service(), [want.port])
        if want.on_change == "hold" or not await self._would_stop(host, want):
            return
        if want.on_change == "surge":
            await refuse_others(host, want.second(), want.second().service(), [want.spare_port])
        else:
            raise BadInput(
                f"models.{want.model}.on_change: is refuse, and {want.name} cannot be replaced without a gap "
                f"({want.why}); say hold to let requests wait meanwhile, or make room for both"
            )

    async def warnings(self, host: Host, want: ReplicaWant) -> Sequence[str]:
        """What its container may lose, and what a daemon-reload takes from others' ones."""
        if want.container is None or not want.container.gpus:
            return await before_reload(host, self, want)
        said = caution(await host.facts(), want.container.gpus, where=f"{want.name} on {host.name}")
        return (said,) if said else ()

    async def announced(self, host: Host, want: ReplicaWant) -> Sequence[str]:
        """The way in which a running engine will be replaced."""
        if not await self._would_stop(host, want):
            return ()
        because = f" ({want.why})" if want.why else ""
        if want.on_change == "surge":
            return (f"{want.name}: surge{because}: the new engine answers before the old one stops; no request waits",)
        limit = f"wait at the gateway, {want.hold_limit_s} s at most," if want.endpoints else "fail"
        return (f"{want.name}: hold{because}: requests {limit} while the old engine stops and the new one starts",)

    async def apply(self, host: Host, want: ReplicaWant | None, have: ReplicaWant | None) -> None:
        """Takes the engine out of traffic, changes it, and brings it back once it answers.

        When the new one does not answer, the old one has the requests again, and the failure is raised.
        """
        if want is None:
            if have is not None:
                await self._take_away(host, have)
            return
        want, have = await with_cards(host, want), None if have is None else await with_cards(host, have)
        if have is None or not self._stops(want, have):  # it serves on while files and its place are repaired
            await self._replace(host, want, have)
        else:
            async with have.route().turn(host):  # replicas of one revision go one after the other: one always serves
                if want.on_change == "surge":
                    await self._surge(host, want, have)
                else:
                    await self._hold(host, want, have)
        if have is not None:
            await self._end_second(host, have)

    async def _take_away(self, host: Host, have: ReplicaWant) -> None:
        await have.route().leave(host)
        await _drain(host, have)
        await self._end_second(host, have)
        await super().apply(host, None, have)
        await have.route().remove(host)

    async def _hold(self, host: Host, want: ReplicaWant, have: ReplicaWant) -> None:
        await have.route().hold(host)
        await _drain(host, have)
        await self._replace(host, want, have)

    async def _surge(self, host: Host, want: ReplicaWant, have: ReplicaWant) -> None:
        """The second engine has all requests from when it answers until the first is back."""
        second = want.second()
        there = await self.observe(host.quietly(), second)
        if self.steps(second, there) and there is not None:  # an update that was killed left another one, in traffic
            await have.route().join(host)
            await second.route().leave(host)
        try:
            await self._start(host, second, there)
        except Exception as error:
            await have.route().join(host)
            await self._end_second(host, want)
            if isinstance(error, ProviderError):
                raise StartFailed(f"{error}\n{want.name}: the old engine was not touched and serves on") from None
            raise
        await second.route().join(host)
        await have.route().hold(host)
        await _drain(host, have)
        await self._replace(host, want, have)

    async def _end_second(self, host: Host, have: ReplicaWant) -> None:
        """Ends what a surge has beside the engine, once that has no requests any more."""
        second = have.second()
        found = await status(host.quietly(), second.service(), second.manager())
        if not found.there:
            return
        seen = Service.parse(found.run)
        port = seen.about.get("port", second.port) if seen is not None else second.port
        second = second.model_copy(update={"port": port})
        await second.route().leave(host)
        await _drain(host, second)
        for command in remove(second.service(), second.manager()):
            await host.run(command)

    async def _replace(self, host: Host, want: ReplicaWant, have: ReplicaWant | None) -> None:
        try:
            await self._start(host, want, have)
        except Exception as error:
            try:
                back = await self._go_back(host, want, have)
            except ProviderError as second:
                await want.route().leave(host)  # nobody is left for whom requests could wait
                raise StartFailed(f"{error}\n{want.name}: the old engine does not come back either: {second}") from None
            if back and isinstance(error, ProviderError):
                raise StartFailed(f"{error}\n{want.name}: {back}") from None
            raise
        await want.route().join(host)

    def _only_its_files(self, want: ReplicaWant, have: ReplicaWant) -> bool:
        alike = {"traffic": have.traffic, "spare": have.spare}
        return have.state == "running" and self.differing(want.model_copy(update=alike), have) == ["definition"]

    def _redefined(self, want: ReplicaWant, have: ReplicaWant) -> bool:
        runs_as_seen = want.model_copy(update={"state": have.state, "traffic": have.traffic, "spare": have.spare})
        return bool(self.differing(runs_as_seen, have))

    def _stops(self, want: ReplicaWant, have: ReplicaWant) -> bool:
        """Whether an engine that serves must stop for the change."""
        if have.state not in {"running", "outdated"} or self._only_its_files(want, have):
            return False
        return have.state == "outdated" or self._redefined(want, have)

    async def _would_stop(self, host: Host, want: ReplicaWant) -> bool:
        have = await self.observe(host.quietly(), want)
        return have is not None and self._stops(want, have)

    async def _start(self, host: Host, want: ReplicaWant, have: ReplicaWant | None, *, again: bool = False) -> None:
        """Runs the steps and waits until the engine is ready and answers.

        One that serves and does not stop is not asked: it may have more to do than to answer in time. One that is
        started `again` has the secrets that it had, whose values nobody here knows.

        Raises:
            StartFailed: it ended, was not ready in time, or its answer is not what it must be.
        """
        service, manager, steps = want.service(), want.manager(), self.steps(want, have)
        before = await status(host.quietly(), service, manager)
        if steps:
            back = [secrets_back(want.name, want.folder)]
            for command in back if again else secret_files(want.name, want.folder, want.secrets):
                await host.run(command)
        stop = manager.stop(service)
        for command in steps:
            await host.run(command)
            if command in stop:
                await _given_back(host, want)
        reader = _reader(ENGINES[want.engine])
        await until_ready(host, service, manager, before, limit_s=want.start_timeout_s, reader=reader)
        serves = have is not None and (have.state, have.traffic) == ("running", "serving")
        if have is None or not serves or self._stops(want, have):
            await _prove(host, want)
        await host.run(settled(want.name, want.folder))

    async def _go_back(self, host: Host, want: ReplicaWant, have: ReplicaWant | None) -> str:
        """The engine that ran before runs again; without one, nothing is left running that cannot start.

        Returns what serves instead where it is none of the stack's own.
        """
        service, manager = want.service(), want.manager()
        retired = "" if have is not None and await _has_served(host, have) else want.instead_of
        for command in forget(service, manager) if have is None or retired else manager.stop(service):
            await host.run(command)
        await _given_back(host, want)
        if retired:
            limit_s = want.start_timeout_s
            await brought_back(host, retired, want.name, engine=want.engine, port=want.port, limit_s=limit_s)
            await want.route().join(host)
            return f"container {retired} was started again and serves"
        if have is None or have.definition not in {"as declared", SECRETS_OPEN} or not self._redefined(want, have):
            await want.route().leave(host)
            return ""
        host.say(f"{want.name} did not start; bringing the old one back")
        # Nothing of it is there as it must be any more, and it had answered when it was new.
        await self._start(host, have.model_copy(update={"prompts": []}), None, again=True)
        await have.route().join(host)
        await self._end_second(host, have)
        return ""


async def _drain(host: Host, have: ReplicaWant) -> None:
    limit_s = have.drain_timeout_s
    await drain(host, have.name, port=have.port, admin_port=have.admin_port, limit_s=limit_s)


async def _has_served(host: Host, have: ReplicaWant) -> bool:
    """Whether it has ever had requests: one that has them now may be older than what an engine's folder keeps."""
    return have.traffic == "serving" or await has_served(host, have.name, have.folder)


async def _given_back(host: Host, have: ReplicaWant) -> None:
    if have.device == "cuda":
        await until_given_back(host, have.name)


async def _prove(host: Host, want: ReplicaWant) -> None:
    """Asks the engine itself what the smoke test asks: no request of others must meet one that only says it is well.

    Raises:
        StartFailed: an answer is not what it must be.
    """
    if not want.prompts:
        return
    host.say(f"{want.name}: asking it")
    async with host.forward(want.port) as address:
        client = Client(Way(url=f"http://{address}/v1"), "", want.answer_timeout_s)
        try:
            await asyncio.to_thread(client.ask, want.served_names[0], want.prompts, want.asks)
        except Unsatisfied as unsatisfied:
            raise StartFailed(f"{want.name} started and failed its smoke test: {unsatisfied}") from None


def _reader(engine: Engine) -> Reader:
    def explain(lines: Sequence[str]) -> str:
        failure = engine.explain(lines)
        return "" if failure is None else str(failure)

    return Reader(progress=engine.progress, explain=explain, hopeless=engine.startup_terminal)
