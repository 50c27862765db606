"""An engine's place in the gateway: the endpoints file of its revision, shared with the revision's other engines.

The file is read, changed and swapped under a lock of this provider; the stack's lock on the host keeps others out.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from berth.gateway.endpoints import endpoints, read_endpoints
from berth.provider.command import put, shell
from berth.provider.host import Host
from berth.provider.http import get_json

TrafficState = Literal["serving", "held", "absent"]
"""Whether requests go to the engine, wait for it, or are not for it."""

_locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

_HEALTHY_S = 30
_PAUSE_S = 0.2

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
        text = json.dumps(endpoints(self.cluster, addresses, held), indent=1)
        await host.run(put(self.path, text, says=f"telling the gateway about {self.cluster}"))

    async def _until_healthy(self, host: Host) -> None:
        """Waits until the gateway's own health check has passed; a gateway that does not run is not waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _HEALTHY_S
        while loop.time() < deadline:
            found = await get_json(host, self.admin_port, "/clusters?format=json") if self.admin_port else None
            if found is None or _healthy(found, self.cluster, self.address):
                return
            host.say(f"{self.cluster}: waiting for the gateway to find it healthy")
            await asyncio.sleep(_PAUSE_S)


def _healthy(found: dict[str, Any], cluster: str, address: Address) -> bool:
    """Whether the cluster, if the gateway has it at all, counts the address as healthy."""
    for status in found.get("cluster_statuses", []):
        if status.get("name") != cluster:
            continue
        for host in status.get("host_statuses", []):
            where = host["address"]["socket_address"]
            if (where["address"], where["port_value"]) == address:
                health = host.get("health_status", {})
                return health.get("eds_health_status") == "HEALTHY" and not health.get("failed_active_health_check")
        return False
    return True
