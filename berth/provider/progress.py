"""Status lines beside a resource while the provider works on it.

A line goes to Pulumi's engine over its log service: `ephemeral` lines replace one another beside the resource, others
stay under Diagnostics.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import grpc
import grpc.aio
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

Say = Callable[[str], None]
"""Shows one status line; never waits and never fails."""


class Progress:
    """Sends status lines to the engine in the order in which they were said."""

    def __init__(self, engine_address: str) -> None:
        self._address = engine_address
        self._queue: asyncio.Queue[engine_pb2.LogRequest] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    def about(self, urn: str) -> Say:
        """A function that shows lines beside the resource `urn`; the same line twice in a row is sent once."""
        last = ""

        def say(text: str) -> None:
            nonlocal last
            if text != last:
                last = text
                self._put(urn, text, ephemeral=True)

        return say

    def warn(self, urn: str, text: str) -> None:
        """Leaves a warning under Diagnostics."""
        self._put(urn, text, ephemeral=False, severity=engine_pb2.WARNING)

    def tell(self, urn: str, text: str) -> None:
        """Leaves a line under Diagnostics."""
        self._put(urn, text, ephemeral=False)

    def _put(
        self, urn: str, text: str, *, ephemeral: bool, severity: engine_pb2.LogSeverity.ValueType = engine_pb2.INFO
    ) -> None:
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        self._queue.put_nowait(
            engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=ephemeral, streamId=0)
        )

    async def _send(self) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = engine_pb2_grpc.EngineStub(channel)
            while True:
                request = await self._queue.get()
                # A lost status line must never fail the work that it is about.
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await stub.Log(request)
                self._queue.task_done()

    async def close(self) -> None:
        """Sends what was said so far (for a second at most) and ends."""
        if self._sender is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._queue.join(), 1)
            self._sender.cancel()
