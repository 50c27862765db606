"""An engine's place in the gateway: the endpoints file of its revision, shared with the revision's other engines.

The file is read, changed and swapped under a lock of this provider; the stack's lock on the host keeps others out.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Literal

from berth.gateway.admin import CLUSTERS_PATH, STATS_PATH, healthy, knows, published
from berth.gateway.endpoints import endpoints, read_endpoints
from berth.provider.command import put, shell
from berth.provider.host import Host
from berth.provider.http import get_json

TrafficState = Literal["serving", "held", "absent"]
"""Whether requests go to the engine, wait for it, or are not for it."""

_locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

_turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

_HEALTHY_S = 30
_USED_S = 10
_PAUSE_S = 0.2

# The watcher marks frozen engines in these files: who writes one holds the folder's lock, so that no mark lands in a
# file that the watcher has not read.
_LOCKED = """
folder=${1%/*}/
shift
mkdir -p -- "$folder"
exec flock "$folder" "$@"
"""

Address = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """One engine's address in one endpoints file; an empty path means that there is no gateway."""

    path: str
    cluster: str
    address: Address
    admin_port: int

    async def observe(self, host: Host) -> TrafficState:
        """The state as the file on the host says it."""
        if not self.path:
            return "serving"
        addresses, held = await self._read(host)
        if self.address in addresses:
            return "held" if held else "serving"
        return "held" if held else "absent"

    def turn(self, host: Host) -> asyncio.Lock:
        """Held by a replica while it is replaced, against the other replicas of its revision."""
        return _turns[host.name, self.path]

    async def hold(self, host: Host) -> None:
        """Takes the engine out; when no other engine of the revision is left, requests wait."""
        await self._take_out(host, wait_when_empty=True)

    async def leave(self, host: Host) -> None:
        """Takes the engine out; when no other is left, requests fail at once."""
        await self._take_out(host, wait_when_empty=False)

    async def join(self, host: Host) -> None:
        """Brings the engine in: requests that wait go to it as soon as the gateway has found it healthy."""
        if not self.path:
            return
        async with _locks[host.name, self.path]:
            addresses, held = await self._read(host)
            others = [address for address in addresses if address != self.address]
            wanted = sorted([*others, self.address])
            if held:
                await self._write(host, wanted, held=True)
                await self._until_healthy(host)
            await self._write(host, wanted, held=False)
        await self._until_healthy(host)

    async def remove(self, host: Host) -> None:
        """Removes the file when it names no engine any more."""
        if not self.path:
            return
        async with _locks[host.name, self.path]:
            addresses, _ = await self._read(host)
            if not addresses:
                script = 'rm -f -- "$1"; rmdir -- "$(dirname -- "$1")" 2> /dev/null || :'
                await host.run(shell(script, self.path, says=f"removing {self.path}"))

    async def _take_out(self, host: Host, *, wait_when_empty: bool) -> None:
        if not self.path:
            return
        async with _locks[host.name, self.path]:
            if await self._text(host):
                addresses, _ = await self._read(host)
                left = [address for address in addresses if address != self.address]
                await self._write(host, left, held=wait_when_empty and not left)

    async def _read(self, host: Host) -> tuple[tuple[Address, ...], bool]:
        text = await self._text(host)
        try:
            return read_endpoints(json.loads(text)) if text else ((), False)
        except (ValueError, KeyError, IndexError, TypeError):  # edited by hand beyond recognition: written anew
            return (), False

    async def _text(self, host: Host) -> str:
        script = 'if [ -f "$1" ]; then cat -- "$1"; fi'
        return (await host.run(shell(script, self.path, says="looking at the gateway's endpoints"))).stdout

    async def _write(self, host: Host, addresses: list[Address], *, held: bool) -> None:
        content = endpoints(self.cluster, addresses, held)
        told = put(self.path, json.dumps(content, indent=1), says=f"telling the gateway about {self.cluster}")
        await host.run(replace(told, argv=("sh", "-c", _LOCKED, "locked", self.path, *told.argv)))
        await self._until_used(host, content["version_info"])

    async def _until_used(self, host: Host, version: str) -> None:
        """Waits until the gateway goes by the file: only then does an engine that was taken out get no new request."""
        deadline = asyncio.get_running_loop().time() + _USED_S
        while self.admin_port and asyncio.get_running_loop().time() < deadline:
            stats = await get_json(host, self.admin_port, STATS_PATH)
            if stats is None or not knows(stats, self.cluster):
                return
            if published({}, stats, endpoints={self.cluster: version}).active:  # endpoints show in the numbers alone
                return
            await asyncio.sleep(_PAUSE_S)

    async def _until_healthy(self, host: Host) -> None:
        """Waits for the gateway's own health check, if it runs and knows the cluster already."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _HEALTHY_S
        while loop.time() < deadline:
            found = await get_json(host, self.admin_port, CLUSTERS_PATH) if self.admin_port else None
            if found is None or self.cluster not in {status["name"] for status in found["cluster_statuses"]}:
                return
            if self.address in healthy(found, self.cluster):
                return
            host.say(f"{self.cluster}: waiting for the gateway to find it healthy")
            await asyncio.sleep(_PAUSE_S)
