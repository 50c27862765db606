"""What components register, without an engine: every resource with its inputs and with what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime import mocks


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One resource: its type, its inputs without what is None, the names of those that it depends on."""

    kind: str
    inputs: Mapping[str, Any]
    needs: frozenset[str]


class _Monitor(mocks.MockMonitor):
    def __init__(self) -> None:
        super().__init__(_Echo())
        self.found: dict[str, Registered] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 -- the name of the RPC
        answer = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            inputs = pulumi.runtime.rpc.deserialize_properties(request.object)
            needs = frozenset(urn.rsplit("::", 1)[1] for urn in request.dependencies)
            said = {key: value for key, value in inputs.items() if value is not None}
            self.found[request.name] = Registered(kind=request.type, inputs=said, needs=needs)
        return answer


class _Echo(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"{args.token} is not to be called")


class _Inline(ThreadPoolExecutor):
    """Runs at once: in threads of its own Pulumi's double leaves event loops that nobody closes."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 -- it is the future's to raise
            future.set_exception(error)
        return future


def registered(declare: Callable[[], Any]) -> Mapping[str, Registered]:
    """What a function registers, by name; under an event loop of its own, which other tests do not meet."""
    monitor, loop = _Monitor(), asyncio.new_event_loop()
    loop.set_default_executor(_Inline())
    asyncio.set_event_loop(loop)
    try:
        mocks.set_mocks(_Echo(), preview=False, monitor=monitor)
        mocks.test(lambda: declare() and None)()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return monitor.found


def everything_before(found: Mapping[str, Registered], name: str) -> frozenset[str]:
    """All that must be there before one resource, over any number of steps."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        for need in found[waiting.pop()].needs - seen:
            seen.add(need)
            waiting.append(need)
    return frozenset(seen)
