"""Waits until something on a host answers over HTTP; a resource, so that an update that ends has proved it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from berth.provider.command import Command, shell
from berth.provider.errors import StartFailed
from berth.provider.host import Host
from berth.provider.http import get
from berth.provider.operation import Operation, Want

_PAUSE_S = 0.3

_ENDED = """
if [ ! -f "$1/state/process" ]; then echo "no process runs"; exit 0; fi
read -r pid _ < "$1/state/process"
if ! kill -0 "$pid" 2> /dev/null; then echo "process $pid is gone"; fi
"""

_TAIL = 'if [ -f "$1" ]; then tail -n 12 -- "$1"; fi'


class ReadyWant(Want):
    """An HTTP condition: a GET of `path` on a loopback `port` answers `status` within `timeout_s` seconds.

    `folder` and `log` are those of the service behind it (both may be empty): when its process is gone, waiting ends.
    `after` holds whatever a change of which asks for a new proof.
    """

    name: str
    port: int
    path: str
    status: int = 200
    timeout_s: int = 60
    folder: str = ""
    log: str = ""
    after: dict[str, Any] = {}
    state: Literal["ready", "not ready"] = "ready"


class Ready(Operation[ReadyWant]):
    """Declares that something answers."""

    kind = "berth:host:Ready"
    wants = ReadyWant

    def identity(self, want: ReadyWant) -> str:
        """What is waited for."""
        return f"{want.host}:{want.port}{want.path}"

    async def observe(self, host: Host, want: ReadyWant) -> ReadyWant | None:
        """Asks once."""
        answer = await get(host, want.port, want.path)
        ready = answer is not None and answer.status_code == want.status
        return want.model_copy(update={"state": "ready" if ready else "not ready"})

    def steps(self, want: ReadyWant | None, have: ReadyWant | None) -> Sequence[Command]:
        """Waiting changes nothing on a host."""
        del want, have
        return []

    async def converge(self, host: Host, want: ReadyWant | None, known: ReadyWant) -> ReadyWant | None:
        """Asks until it answers.

        Raises:
            StartFailed: the process is gone, or the time is over; with the log's last lines.
        """
        del known
        if want is None:
            return None
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while True:
            seen = await self.observe(host, want)
            if seen is not None and seen.state == "ready":
                return seen
            waited = loop.time() - begin
            host.say(f"waiting for {want.path} of {want.name} on port {want.port}, {waited:.0f} of {want.timeout_s} s")
            ended = await self._ended(host, want)
            if ended or waited > want.timeout_s:
                why = ended or f"port {want.port}{want.path} did not answer {want.status} within {want.timeout_s} s"
                raise StartFailed(f"{want.name} on {host.name}: {why}{await self._tail(host, want)}")
            await asyncio.sleep(_PAUSE_S)

    async def _ended(self, host: Host, want: ReadyWant) -> str:
        if not want.folder:
            return ""
        return (await host.run(shell(_ENDED, want.folder, says=f"looking at {want.name}"))).stdout.strip()

    async def _tail(self, host: Host, want: ReadyWant) -> str:
        lines = (await host.run(shell(_TAIL, want.log, says=f"reading {want.log}"))).stdout if want.log else ""
        return f"\nits last lines (all of them are in {want.log}):\n{lines}" if lines else ""
