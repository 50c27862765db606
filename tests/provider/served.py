"""The provider behind a real gRPC server with a real client, and an engine that keeps what is logged to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from berth.provider import wire
from berth.provider.command import Command, leashed, put, shell
from berth.provider.host import Host
from berth.provider.operation import Operation, Want
from berth.provider.operations.file import File
from berth.provider.progress import Progress
from berth.provider.provider import BerthProvider
from berth.provider.serve import Servicer

FILE = "berth:host:File"
THING = "test:host:Thing"


class ThingWant(Want):
    """A folder with a description in it; making it takes `seconds`."""

    folder: str
    number: int = 1
    share: float = 0.5
    on: bool = True
    items: list[str] = []
    options: dict[str, Any] = {}
    secret: str = ""
    seconds: float = 0


class Thing(Operation[ThingWant]):
    """A small operation with every kind of value."""

    kind = THING
    wants = ThingWant
    replace = frozenset({"host", "folder"})
    delete_first = True

    def identity(self, want: ThingWant) -> str:
        return want.folder

    async def observe(self, host: Host, want: ThingWant) -> ThingWant | None:
        look = shell('if [ -f "$1" ]; then cat -- "$1"; fi', f"{want.folder}/thing", says="looking")
        text = (await host.run(look)).stdout
        return ThingWant.model_validate_json(text) if text else None

    def steps(self, want: ThingWant | None, have: ThingWant | None) -> Sequence[Command]:
        if want is None:
            return [] if have is None else [shell('rm -r -- "$1"', have.folder, says="removing")]
        work = shell('echo begin; sleep "$1"', str(want.seconds), says="working", timeout_s=600)
        return [leashed(work), put(f"{want.folder}/thing", json.dumps(want.plain()))]

    async def warnings(self, host: Host, want: ThingWant) -> Sequence[str]:
        return [f"{host.name}: nothing may be on"] if not want.items and want.number == 0 else ()

    def output_names(self) -> Sequence[str]:
        return ("made",)

    async def outputs(self, host: Host, want: ThingWant) -> dict[str, Any]:
        return {"made": f"{want.number} on {host.name}"}


class Engine(engine_pb2_grpc.EngineServicer):
    """Keeps what the provider tells the engine."""

    def __init__(self) -> None:
        self.logged: list[engine_pb2.LogRequest] = []

    async def Log(self, request: engine_pb2.LogRequest, context: Any) -> empty_pb2.Empty:  # noqa: N802 -- named by the protocol
        del context
        self.logged.append(request)
        return empty_pb2.Empty()


@dataclass(frozen=True)
class Served:
    """A provider as Pulumi's engine meets it; plain values go in and come out."""

    stub: Any
    engine: Engine

    async def check(self, kind: str, inputs: Mapping[str, Any]) -> provider_pb2.CheckResponse:
        return await self.stub.Check(provider_pb2.CheckRequest(urn=urn(kind), news=sent(inputs)))

    async def diff(
        self, kind: str, old: Mapping[str, Any], new: Mapping[str, Any], ignore: Sequence[str] = ()
    ) -> provider_pb2.DiffResponse:
        request = provider_pb2.DiffRequest(
            urn=urn(kind), id="x", olds=sent(old), news=sent(new), ignoreChanges=list(ignore)
        )
        return await self.stub.Diff(request)

    async def create(
        self, kind: str, inputs: Mapping[str, Any], *, preview: bool = False, timeout_s: float = 0
    ) -> tuple[str, dict[str, Any]]:
        request = provider_pb2.CreateRequest(urn=urn(kind), properties=sent(inputs), preview=preview, timeout=timeout_s)
        answer = await self.stub.Create(request)
        return answer.id, got(answer.properties)

    async def update(
        self, kind: str, old: Mapping[str, Any], new: Mapping[str, Any], *, preview: bool = False, timeout_s: float = 0
    ) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(
            urn=urn(kind), id="x", olds=sent(old), news=sent(new), preview=preview, timeout=timeout_s
        )
        return got((await self.stub.Update(request)).properties)

    async def read(self, kind: str, state: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Any:
        request = provider_pb2.ReadRequest(
            urn=urn(kind), id="x", properties=sent(state), inputs=None if inputs is None else sent(inputs)
        )
        return await self.stub.Read(request)

    async def delete(self, kind: str, state: Mapping[str, Any], *, timeout_s: float = 0) -> None:
        await self.stub.Delete(
            provider_pb2.DeleteRequest(urn=urn(kind), id="x", properties=sent(state), timeout=timeout_s)
        )


def urn(kind: str) -> str:
    """A resource below a component, as nearly all are: its type is qualified by its parent's."""
    return f"urn:pulumi:dev::llm-serving::berth:index:InferenceServer${kind}::it"


def sent(values: Mapping[str, Any]) -> Any:
    """Plain values as the engine sends them."""
    return wire.to_wire_map(values)


def got(struct: Any) -> dict[str, Any]:
    """Plain values of what the provider answered."""
    return wire.to_plain_map(struct)


@contextlib.asynccontextmanager
async def served(workspace: str) -> AsyncIterator[Served]:
    """A provider with two operations, configured for this machine as the host `box`."""
    engine = Engine()
    engine_server = grpc.aio.server()
    engine_pb2_grpc.add_EngineServicer_to_server(engine, engine_server)
    engine_port = engine_server.add_insecure_port("127.0.0.1:0")
    await engine_server.start()
    address = f"127.0.0.1:{engine_port}"
    provider = BerthProvider(Progress(address), {FILE: File(), THING: Thing()})
    server = grpc.aio.server()
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        hosts = json.dumps({"box": {"connection": "local", "workspace": workspace}})
        await stub.Configure(provider_pb2.ConfigureRequest(args=sent({"hosts": hosts})))
        try:
            yield Served(stub, engine)
        finally:
            await provider.close()
            await server.stop(grace=0)
            await engine_server.stop(grace=0)
