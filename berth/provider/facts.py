"""What hosts are, asked of all of them at once before anything is planned for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from berth.provider.errors import ProviderError
from berth.provider.host import Host

FACTS: Final = "berth:host:facts"
"""The function's Pulumi token."""


async def gather(host: Host) -> dict[str, str]:
    """The facts as one text of JSON, which thousands of packages cross the wire in as fast as one.

    Raises:
        ProviderError: the host does not answer, or not with its facts.
    """
    return {"facts": (await host.facts()).model_dump_json()}


async def gather_all(hosts: Sequence[Host]) -> dict[str, Mapping[str, str]]:
    """The `facts` of many hosts at once, by name; of one that gives none, why not as its `problem`."""

    async def one(host: Host) -> Mapping[str, str]:
        try:
            return await gather(host)
        except ProviderError as error:
            return {"problem": str(error)}

    return dict(zip([host.name for host in hosts], await asyncio.gather(*map(one, hosts)), strict=True))
