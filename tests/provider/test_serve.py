"""The plugin as Pulumi starts it: a program with a parent, which may be killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from berth.provider import serve
from tests.provider.served import sent

PLUGIN = Path(serve.__file__).with_name("pulumi-resource-berth")
NOBODY = "127.0.0.1:1"  # the engine's address: nobody there, as when it is killed; it is only told status lines
ENDS_S = 5


@pytest.fixture
async def plugin() -> AsyncIterator[Plugin]:
    async with started() as running:
        yield running


class Plugin:
    """A running plugin and the process that started it."""

    def __init__(self, parent: asyncio.subprocess.Process, pid: int, port: int) -> None:
        self.parent = parent
        self.pid = pid
        self.port = port

    async def ends(self, within_s: float = ENDS_S) -> None:
        """Waits until it is gone; a zombie is, since only its parent could ask for it."""
        async with asyncio.timeout(within_s):
            while state(self.pid) not in {"", "Z", "X"}:
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[Plugin]:
    parent = await asyncio.create_subprocess_exec(
        *("sh", "-c", '"$0" "$1"; echo "status $?"', str(PLUGIN), NOBODY),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    port = int(await parent.stdout.readline())
    child = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    running = Plugin(parent, int(child), port)
    try:
        yield running
    finally:
        for process in (running.pid, parent.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        await parent.communicate()


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def users_of(text: str) -> Iterator[int]:
    """The processes that have `text` in their arguments."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (folder / "cmdline").read_bytes() and state(int(folder.name)) not in {"Z", "X"}:
                yield int(folder.name)


def free(workspace: Path) -> bool:
    """Whether nobody holds the lock of a workspace."""
    if not workspace.exists():
        return True
    descriptor = os.open(workspace, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextlib.asynccontextmanager
async def installing(plugin: Plugin, workspace: Path) -> AsyncIterator[asyncio.Task[Any]]:
    """An installation by the plugin that hangs in the middle: a leashed command under the host's lock."""
    index = socket.create_server(("127.0.0.1", 0))  # takes connections and never answers
    address = "{}:{}".format(*index.getsockname())
    inputs = {
        "host": "box",
        "path": str(workspace / "env"),
        "requirements": [f"slow @ http://{address}/slow-1.0-py3-none-any.whl"],
        "uv": str(workspace / "uv"),
    }
    async with grpc.aio.insecure_channel(f"127.0.0.1:{plugin.port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        hosts = json.dumps({"box": {"connection": "local", "workspace": str(workspace)}})
        await stub.Configure(provider_pb2.ConfigureRequest(args=sent({"hosts": hosts})))
        urn = "urn:pulumi:dev::llm-serving::berth:host:PythonEnvironment::slow"
        task = asyncio.ensure_future(stub.Create(provider_pb2.CreateRequest(urn=urn, properties=sent(inputs))))
        async with asyncio.timeout(60):
            while not any(users_of(f"{workspace}/uv")) or not (workspace / "env/pyvenv.cfg").exists():
                assert not task.done(), task.exception()
                await asyncio.sleep(0.05)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            index.close()


async def leaves_nothing(workspace: Path) -> None:
    async with asyncio.timeout(2 * ENDS_S):
        while any(users_of(str(workspace))) or not free(workspace):
            await asyncio.sleep(0.05)


async def test_it_prints_its_port_and_answers_there(plugin: Plugin) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{plugin.port}") as channel:
        info = await provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(empty_pb2.Empty())
    assert info.version == serve.VERSION


async def test_it_ends_when_its_parent_is_killed(plugin: Plugin) -> None:
    plugin.parent.kill()
    await plugin.ends()


async def test_when_its_parent_is_killed_what_it_installs_ends_and_its_lock_is_free(
    plugin: Plugin, tmp_path: Path
) -> None:
    workspace = tmp_path / "work"
    async with installing(plugin, workspace):
        assert not free(workspace)
        plugin.parent.kill()
        await plugin.ends(3 * ENDS_S)
        await leaves_nothing(workspace)


async def test_when_it_is_killed_itself_what_it_installs_ends_and_its_lock_is_free(
    plugin: Plugin, tmp_path: Path
) -> None:
    workspace = tmp_path / "work"
    async with installing(plugin, workspace):
        os.kill(plugin.pid, signal.SIGKILL)
        await leaves_nothing(workspace)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_without_a_traceback(plugin: Plugin, tmp_path: Path, how: signal.Signals) -> None:
    workspace = tmp_path / "work"
    async with installing(plugin, workspace):
        began = time.monotonic()
        os.kill(plugin.pid, how)
        await plugin.ends(3 * ENDS_S)
        assert time.monotonic() - began < ENDS_S
        await leaves_nothing(workspace)
    output, errors = await plugin.parent.communicate()
    assert output == b"status 0\n"
    assert b"Traceback" not in errors
    assert b"Error" not in errors


async def test_one_that_starts_without_a_virtual_environment_s_path_finds_its_own(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(PLUGIN), NOBODY),
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert int(await process.stdout.readline()) > 0
    process.kill()
    await process.communicate()
