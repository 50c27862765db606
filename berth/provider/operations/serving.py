"""A service on a cluster that serves what is declared: what KServe calls ready may still be the earlier declaration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from berth.provider.command import Command
from berth.provider.errors import StartFailed, Unreachable
from berth.provider.host import Host
from berth.provider.kubernetes.api import Api, Refused
from berth.provider.kubernetes.connection import api_of
from berth.provider.kubernetes.look import look
from berth.provider.kubernetes.reason import Stuck, reason
from berth.provider.kubernetes.seen import Object, Seen, conditions
from berth.provider.kubernetes.stage import stage
from berth.provider.operation import Operation, Want

_PAUSE_S = 0.5
_AWAY_S = 50


class ServingWant(Want):
    """A service that answers; `host` is the cluster.

    `specification` is what pods of the wanted declaration are marked with (empty: all are), `models` the names that
    each must list on `port`; `parked` wants no pod at all. `timeout_s` is for the whole start; one that is stuck ends
    sooner. `generation` is the service's own: another asks for another look.
    """

    namespace: str
    service: str
    service_kind: Literal["InferenceService", "LLMInferenceService"] = "InferenceService"
    api_version: str = "serving.kserve.io/v1beta1"
    specification: str
    models: tuple[str, ...]
    port: int = 8080
    parked: bool = False
    timeout_s: float = 1800
    generation: int = 0
    state: Literal["ready", "not ready"] = "ready"


class Serving(Operation[ServingWant]):
    """Waits until the wanted pods serve, and says what they do meanwhile."""

    kind = "berth:kubernetes:Serving"
    wants = ServingWant
    replace = frozenset({"host", "namespace", "service", "service_kind"})
    late = frozenset({"generation"})

    def identity(self, want: ServingWant) -> str:
        """The service."""
        return f"{want.host}:{want.namespace}/{want.service}"

    async def observe(self, host: Host, want: ServingWant) -> ServingWant | None:
        """Looks once: whether the wanted pods, and only they, run and list their models; None without a service."""
        api = api_of(host)
        seen = await _look(api, want)
        if seen.service is None:
            return None
        ready = not await _missing(api, want, seen)
        return want.model_copy(update={"state": "ready" if ready else "not ready"})

    def steps(self, want: ServingWant | None, have: ServingWant | None) -> Sequence[Command]:
        """Waiting changes nothing."""
        del want, have
        return []

    async def converge(self, host: Host, want: ServingWant | None, known: ServingWant) -> ServingWant | None:
        """Waits until it serves.

        Raises:
            StartFailed: it is stuck, with the reason, or its time is over.
        """
        del known
        if want is None:
            return None
        api, patience = api_of(host), _Patience()
        begin = _now()
        while True:
            seen: Seen | None = None
            try:
                seen = await _look(api, want)
                missing = await _missing(api, want, seen)
                stuck = reason(seen)
            except Unreachable as error:  # an API server is replaced now and then
                missing, stuck = "waiting for the API server", Stuck(why=str(error), patience_s=_AWAY_S)
            if not missing:
                return want
            waited = _now() - begin
            host.say(f"{want.service}: {missing}, {waited:.0f} s")
            if (why := patience.lost(stuck)) or waited > want.timeout_s:
                late = f"{missing} after {want.timeout_s:.0f} s"
                last = await _last_lines(api, want, seen) if seen is not None else ""
                where = f"{want.service} in namespace {want.namespace} on {host.name}"
                raise StartFailed(f"{where}: {why or late}{last}")
            await asyncio.sleep(_PAUSE_S)


@dataclass
class _Patience:
    """How long the same reason has been seen."""

    stuck: Stuck | None = None
    since: float = field(default=0.0)

    def lost(self, stuck: Stuck | None) -> str:
        """Why it does not come up, once that has lasted; empty until then."""
        if stuck is None or self.stuck is None or stuck.patience_s != self.stuck.patience_s:
            self.since = _now()
        self.stuck = stuck
        return stuck.why if stuck is not None and _now() - self.since >= stuck.patience_s else ""


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _look(api: Api, want: ServingWant) -> Seen:
    about = {"kind": want.service_kind, "api_version": want.api_version}
    return await look(api, want.namespace, want.service, want.specification, **about)


async def _missing(api: Api, want: ServingWant, seen: Seen) -> str:
    """What there is still to wait for; empty when there is nothing."""
    if seen.service is None:
        return "waiting for the service to be made"
    if want.parked:
        return f"waiting for {len(seen.pods)} pods to end" if seen.pods else ""
    if not seen.rolled_out():
        return stage(seen)
    if not seen.judged():
        return "waiting for KServe to look at what is declared"
    ready = conditions(seen.service).get("Ready", {})
    if ready.get("status") != "True":
        return f"waiting for KServe: {ready.get('message') or ready.get('reason') or 'not ready yet'}"
    answers = await asyncio.gather(*(_lacking(api, want, pod) for pod in seen.wanted_pods))
    return next(filter(None, answers), "")


async def _lacking(api: Api, want: ServingWant, pod: Object) -> str:
    """What a pod's own list of models lacks, asked through the API server."""
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{want.namespace}/pods/{name}:{want.port}/proxy/v1/models"
    try:
        listed = await api.get(path)
    except (Refused, Unreachable, json.JSONDecodeError) as error:
        return f"waiting for {name} to list its models ({error})"
    names = [str(item.get("id")) for item in (listed or {}).get("data", ())]
    lacking = [model for model in want.models if model not in names]
    return f"{name} lists {', '.join(names) or 'no model'}, must list {', '.join(lacking)}" if lacking else ""


async def _last_lines(api: Api, want: ServingWant, seen: Seen) -> str:
    """The last lines of a container that ended, where the cluster still has them."""
    for pod, container in _gone(seen):
        path = f"/api/v1/namespaces/{want.namespace}/pods/{pod}/log"
        try:
            text = await api.text(path, container=container, tailLines="12", previous="true")
        except (Refused, Unreachable):
            continue
        if text:
            return f"\nlast lines of {container} in {pod}:\n{text}"
    return ""


def _gone(seen: Seen) -> Iterator[tuple[str, str]]:
    for pod in seen.wanted_pods:
        status = pod.get("status", {})
        for state in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            if state.get("lastState", {}).get("terminated", {}).get("exitCode"):
                yield pod["metadata"]["name"], state["name"]
