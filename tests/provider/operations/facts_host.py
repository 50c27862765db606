"""A host of which the facts are known, for what asks nothing else of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from berth.facts import HostFacts
from berth.provider.host import Gathered, Host
from tests.machines.connection import MachineConnection


class _Known(Gathered):
    def __init__(self, facts: HostFacts) -> None:
        super().__init__()
        self._facts = facts

    async def get(self, host: Host) -> HostFacts:
        del host
        await asyncio.sleep(0)
        return self._facts


def known(facts: HostFacts) -> Host:
    """The host `box`; it has no connection, so that running anything there fails."""
    nothing = cast("MachineConnection", cast("Any", None))
    return Host(name="box", workspace="/root/berth", connection=nothing, say=lambda _: None, gathered=_Known(facts))
