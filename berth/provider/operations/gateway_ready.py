"""A gateway on a cluster that has taken its configuration: a volume follows its ConfigMap a minute late or two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import requests
from pydantic import Field

from berth.gateway.names import CONFIGURATION_HEADER
from berth.provider.asking import Way
from berth.provider.command import Command
from berth.provider.errors import ProviderError, StartFailed, Unreachable
from berth.provider.host import Host
from berth.provider.kubernetes.api import Refused
from berth.provider.operation import Operation, Want
from berth.provider.ways import Pods, ways

_PAUSE_S = 1.0
_ANSWER_S = 10.0


class GatewayReadyWant(Want):
    """All ready `pods` of a gateway let `key` in on `port` (empty: nobody is asked for one) and have `configuration`.

    `after` holds whatever a change of which asks for another look.
    """

    port: int
    pods: Pods
    configuration: str
    key: str = Field(default="", repr=False)
    timeout_s: float = 300
    after: dict[str, Any] = {}
    state: Literal["ready", "not ready"] = "ready"


class GatewayReady(Operation[GatewayReadyWant]):
    """Waits until the gateway is as declared."""

    kind = "berth:kubernetes:GatewayReady"
    wants = GatewayReadyWant
    late = frozenset({"key", "after"})

    def identity(self, want: GatewayReadyWant) -> str:
        """The gateway."""
        return f"{want.host}:{want.port}{want.pods}"

    async def observe(self, host: Host, want: GatewayReadyWant) -> GatewayReadyWant | None:
        """Asks once; who looks may have a login that can only read, which is not let through to pods."""
        try:
            missing = await _missing(host, want)
        except Refused as error:
            missing = str(error)
        return want.model_copy(update={"state": "not ready" if missing else "ready"})

    def steps(self, want: GatewayReadyWant | None, have: GatewayReadyWant | None) -> Sequence[Command]:
        """Waiting changes nothing."""
        del want, have
        return []

    async def converge(
        self, host: Host, want: GatewayReadyWant | None, known: GatewayReadyWant
    ) -> GatewayReadyWant | None:
        """Asks until it is as declared.

        Raises:
            Refused: the login may not read its pods, or not ask them.
            StartFailed: its time is over.
        """
        del known
        if want is None:
            return None
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while missing := await _missing(host, want):
            waited = loop.time() - begin
            host.say(f"gateway: {missing}, {waited:.0f} of {want.timeout_s:.0f} s")
            if waited > want.timeout_s:
                why = f"{missing} after {want.timeout_s:.0f} s; the log of its pod says why"
                raise StartFailed(f"gateway in namespace {want.pods.namespace} on {host.name}: {why}")
            await asyncio.sleep(_PAUSE_S)
        return want


async def _missing(host: Host, want: GatewayReadyWant) -> str:
    """What there is still to wait for; empty when there is nothing.

    Raises:
        Refused: the login may not read its pods, or not ask them.
    """
    try:
        async with ways(host, want.port, want.pods) as found:
            answers = await asyncio.gather(*(asyncio.to_thread(_lacking, way, want) for way in found))
    except Unreachable as error:
        return f"waiting for the API server ({error})"
    except Refused:
        raise  # no waiting gives a login what it may not
    except ProviderError as error:
        return str(error)
    return next(filter(None, answers), "")


def _lacking(way: Way, want: GatewayReadyWant) -> str:
    try:
        answer = way.open().get(f"{way.url}/models", headers=way.headers(want.key), timeout=_ANSWER_S)
    except requests.RequestException as error:
        return f"{way.pod} does not answer ({error})"
    if why := way.denied(answer):
        raise Refused(why, answer.status_code)
    if not answer.ok:
        return f"{way.pod} answers {answer.status_code} to the key of the proof"
    if answer.headers.get(CONFIGURATION_HEADER) != want.configuration:
        return f"{way.pod} has not taken over its configuration yet"
    return ""
