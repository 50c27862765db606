"""How many commands run on one SSH connection at a time: no more than sshd allows."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import asyncssh

Ask = Callable[[], Awaitable[None]]
"""Asks the machine for a session, and raises `asyncssh.ChannelOpenError` when it gives none."""

_FEWEST = 2
"""One holds the lock of a workspace for as long as an update takes; with no other, nothing would ever run."""
_PAUSE_S, _FREED_S = 0.1, 5


class Sessions:
    """A number of sessions that shrinks to what the machine turns out to allow."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._asking = 0
        self._granted = 0
        self._most = 0
        self._waiting: list[asyncio.Future[None]] = []

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Callable[[Ask], Coroutine[Any, Any, None]]]:
        """Waits for one and gives the way to ask for it."""
        await self._until(lambda: self._taken < self._limit)
        self._taken += 1
        granted = False

        async def request(ask: Ask) -> None:
            nonlocal granted
            await self._request(ask)
            self._granted += not granted
            granted = True
            self._most = max(self._most, self._granted)

        try:
            yield request
        finally:
            self._taken -= 1
            self._granted -= granted
            self._wake()

    async def _request(self, ask: Ask) -> None:
        """Asks until the machine gives one; when it refuses, it allows as many as it gave at most."""
        give_up = math.inf
        now = asyncio.get_running_loop().time
        while True:
            self._asking += 1
            try:
                await ask()
            except asyncssh.ChannelOpenError as error:
                refused = error
            else:
                return
            finally:
                self._asking -= 1
                self._wake()
            await self._until(lambda: self._asking == 0)
            give_up = min(give_up, now() + _FREED_S)
            too_few = self._most < _FEWEST and (self._granted > 0 or now() > give_up)
            if too_few or refused.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                raise refused
            self._limit = min(self._limit, max(_FEWEST, self._most))
            await self._until(lambda: self._granted + self._asking < self._limit)
            await asyncio.sleep(_PAUSE_S)  # sshd frees a session a moment after its command has ended

    async def _until(self, free: Callable[[], bool]) -> None:
        while not free():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def _wake(self) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
        self._waiting.clear()
