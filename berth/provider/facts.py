"""What a host is, asked in one round trip before anything is planned for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from berth.provider.command import shell
from berth.provider.errors import ProviderError
from berth.provider.host import Host

FACTS: Final = "berth:host:facts"
"""The function's Pulumi token."""

_GATHER = """
if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then echo systemd; else echo supervisord; fi
echo "$HOME"
uname -m
sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo
nproc
"""


async def gather(host: Host) -> dict[str, Any]:
    """The facts: `init` (what keeps services running there), `home`, `machine`, `memory` in bytes, `cores`."""
    answer = await host.run(shell(_GATHER, says=f"looking at {host.name}"))
    init, home, machine, memory_kib, cores = answer.stdout.splitlines()
    return {"init": init, "home": home, "machine": machine, "memory": int(memory_kib) * 1024, "cores": int(cores)}


async def gather_all(hosts: Sequence[Host]) -> dict[str, dict[str, Any]]:
    """The facts of many hosts at once, by name; of one that gives none, why not as its `problem`."""

    async def one(host: Host) -> dict[str, Any]:
        try:
            return await gather(host)
        except ProviderError as error:
            return {"problem": str(error)}

    return dict(zip([host.name for host in hosts], await asyncio.gather(*map(one, hosts)), strict=True))
