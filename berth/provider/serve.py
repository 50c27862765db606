"""Serves the provider to Pulumi's engine, with clean errors, and ends when the engine is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from pydantic import ValidationError

from berth.provider.diff import path_of
from berth.provider.errors import BadInput, ProviderError
from berth.provider.progress import Progress
from berth.provider.provider import BerthProvider

VERSION = "0.1.0"


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Pulumi's verbs, handed to the provider. What it does not have the engine does without."""

    def __init__(self, provider: BerthProvider) -> None:
        super().__init__()
        self._provider = provider

    async def GetPluginInfo(self, request: empty_pb2.Empty, context: Any) -> plugin_pb2.PluginInfo:  # noqa: N802 -- named by the protocol
        """The provider's version."""
        del request, context
        return plugin_pb2.PluginInfo(version=VERSION)

    async def CheckConfig(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:  # noqa: N802 -- as above
        """Connections are looked at when they are used."""
        del context
        return provider_pb2.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:  # noqa: N802 -- as above
        """Another way to a host replaces nothing on it."""
        del request, context
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN, hasDetailedDiff=True)

    async def Cancel(self, request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:  # noqa: N802 -- as above
        """Ends what is running."""
        del request, context
        await self._provider.cancel()
        return empty_pb2.Empty()


def _clean(verb: str) -> Callable[..., Awaitable[Any]]:
    """The provider's own method; a failure that is understood reaches the user as its message alone."""

    async def handler(self: Servicer, request: Any, context: Any) -> Any:
        try:
            return await getattr(self._provider, verb.lower())(request)
        except BadInput as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except ProviderError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except ValidationError as error:
            problems = "; ".join(
                f"{path_of(item['loc'])}: {item['msg']}"
                for item in error.errors(include_input=False, include_url=False)
            )
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problems)

    return handler


for _verb in ("Configure", "Invoke", "Check", "Diff", "Create", "Read", "Update", "Delete"):
    setattr(Servicer, _verb, _clean(_verb))


async def serve(engine_address: str, parent: int) -> None:
    """Serves until a signal asks to stop or the engine is gone; prints the port as Pulumi expects it."""
    provider = BerthProvider(Progress(engine_address))
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    alone = asyncio.create_task(_gone(parent))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({alone, stopped}, return_when=asyncio.FIRST_COMPLETED)
    await provider.close()
    await server.stop(grace=0)


async def _gone(parent: int) -> None:
    """Waits for the end of the process that started this one; a killed Pulumi would leave its provider for ever."""
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):  # a kernel before 5.3
        while os.getppid() == parent:  # noqa: ASYNC110 -- such a kernel has nothing to wait on
            await asyncio.sleep(1)
        return
    if os.getppid() != parent:  # it ended while this one was starting, and somebody else may have its id
        os.close(descriptor)
        return
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def main(parent: int) -> None:
    """The plugin's entry: its first argument is the engine's address, `parent` the process that asked for it."""
    asyncio.run(serve(sys.argv[1], parent))
