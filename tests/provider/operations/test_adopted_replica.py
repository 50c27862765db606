"""An engine that somebody has started in a container, taken into a stack as it is; on a real Docker engine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from berth.gateway.endpoints import read_endpoints
from berth.provider.command import shell
from berth.provider.connection.local import LocalConnection
from berth.provider.errors import BadInput, StartFailed
from berth.provider.host import Host
from berth.provider.operations.adopted_replica import AdoptedReplica, AdoptedReplicaWant
from berth.provider.operations.replica import Replica
from berth.provider.replica import ReplicaWant
from tests.engine_standin.standin import SOURCE
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image
from tests.ports import free_port

pytestmark = pytest.mark.docker

ADOPTED = AdoptedReplica()


@dataclass
class Box:
    """A host with one container that no stack has made."""

    engine: Engine
    host: Host
    name: str
    port: int
    root: str

    def want(self, **more: Any) -> AdoptedReplicaWant:
        return AdoptedReplicaWant.model_validate(
            {
                **{"host": "box", "name": "one-main-0", "model": "one", "engine": "vllm", "version": "0.32.0"},
                **{"container": self.name, "port": self.port, "cluster": "one-main", "stop_timeout_s": 5},
                **{"endpoints": f"{self.root}/gateway/endpoints/one.json", "start_timeout_s": 30},
                "says": {"context": 512, "args": {"enforce_eager": True}},
                **more,
            }
        )

    def run(self, *words: str) -> None:
        """Starts the container as somebody would."""
        serve = ("serve", "org/model", "--served-model-name", "one", "--max-model-len", "512", "--enforce-eager")
        options = ("--detach", "--name", self.name, "--publish", f"{self.port}:8000", "--restart", "always")
        self.engine.out("run", *options, engine_image(self.engine), *serve, *words, "--host", "0.0.0.0")

    def same(self) -> str:
        """What a restart or a change of the container would change."""
        return self.engine.out("inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", self.name)

    async def routed(self) -> tuple[int, ...]:
        """The ports that the gateway sends requests to."""
        said = await self.host.run(shell('cat -- "$1" 2> /dev/null || echo', self.want().endpoints, says="looking"))
        return tuple(port for _, port in read_endpoints(json.loads(said.stdout))[0]) if said.stdout.strip() else ()


@pytest.fixture
async def box(docker: Engine) -> AsyncIterator[Box]:
    with tempfile.TemporaryDirectory(prefix="berth-") as root:
        connection = LocalConnection("box")
        host = Host(name="box", workspace=root, connection=connection, say=lambda _line: None)
        made = Box(docker, host, f"berth-test-{uuid.uuid4().hex[:8]}", free_port(), root)
        try:
            yield made
        finally:
            docker.run("rm", "--force", made.name)
            await connection.close()


async def test_it_is_taken_as_it_is_and_left_as_it_is(box: Box) -> None:
    want = box.want()
    with pytest.raises(BadInput, match=rf"models.one.adopt: container {box.name} is not on box .* start it"):
        await ADOPTED.preflight(box.host, want)
    box.run()
    before = box.same()
    await ADOPTED.preflight(box.host, want)
    assert await ADOPTED.converge(box.host, want, want) == want
    assert await ADOPTED.observe(box.host, want) == want
    assert await box.routed() == (box.port,)
    assert await ADOPTED.converge(box.host, want, want) == want
    assert (await ADOPTED.outputs(box.host, want))["pid"] > 1
    assert await ADOPTED.converge(box.host, None, want) is None
    assert await box.routed() == ()
    assert box.same() == before


async def test_what_is_another_is_refused_and_what_it_lacks_is_listed(box: Box) -> None:
    box.run()
    other = box.want(port=box.port + 1)
    with pytest.raises(BadInput, match=rf"its port is {box.port} there and {box.port + 1} here"):
        await ADOPTED.preflight(box.host, other)
    with pytest.raises(BadInput, match=r"is not on box or runs no sglang"):
        await ADOPTED.preflight(box.host, box.want(engine="sglang"))
    said = [line.rpartition("would add: ")[2] for line in await ADOPTED.warnings(box.host, box.want())]
    assert [line.split(":")[0].split(",")[0] for line in said] == [
        "labels",
        "a pinned image",
        "a port on loopback",
        "the lock of its card",
        "limits of its log",
    ]


async def test_what_a_hand_did_to_it_shows(box: Box) -> None:
    box.run()
    want = box.want()
    await ADOPTED.converge(box.host, want, want)
    box.engine.out("stop", "--time", "1", box.name)
    assert ADOPTED.differing(want, await ADOPTED.observe(box.host, want)) == ["state"]
    await ADOPTED.converge(box.host, want, want)
    assert await box.routed() == (box.port,)
    box.engine.out("rm", "--force", box.name)
    assert await ADOPTED.observe(box.host, want) is None
    box.run("--max-num-seqs", "3")
    assert ADOPTED.differing(want, await ADOPTED.observe(box.host, want)) == ["says.concurrency"]
    before = box.same()
    with pytest.raises(BadInput, match=r"concurrency is 3 there and not said here; write what runs .*`take: true`"):
        await ADOPTED.converge(box.host, want, want)
    assert box.same() == before


async def test_it_is_stopped_when_it_is_taken_over_and_stays_so(box: Box) -> None:
    box.run()
    want = box.want()
    await ADOPTED.converge(box.host, want, want)
    taking = box.want(take=True, state="taken")
    (said,) = await ADOPTED.warnings(box.host, taking)
    assert said == f"container {box.name} on box is stopped, and Berth's own takes its place"
    assert await ADOPTED.converge(box.host, taking, taking) == taking
    assert box.engine.out("inspect", "--format", "{{.State.Running}}", box.name) == "false"
    assert box.engine.out("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", box.name) == "unless-stopped"
    assert await ADOPTED.converge(box.host, taking, taking) == taking
    # The resource of the first time goes after its successor has come: what it leaves is the successor's.
    text = (await box.host.run(shell('cat -- "$1"', want.endpoints, says="looking"))).stdout
    assert await ADOPTED.converge(box.host, None, want) is None
    assert (await box.host.run(shell('cat -- "$1"', want.endpoints, says="looking"))).stdout == text
    await ADOPTED.converge(box.host, want, want)
    assert await box.routed() == (box.port,)


async def test_it_serves_again_where_what_comes_after_it_fails(box: Box) -> None:
    box.run()
    want, taking = box.want(), box.want(take=True, state="taken")
    for step in (want, taking):
        await ADOPTED.converge(box.host, step, step)
    image = engine_image(box.engine)
    after = ReplicaWant.model_validate(
        {
            **{"host": "box", "name": "one-main-0", "model": "one", "revision": "main", "engine": "vllm"},
            **{"version": "0.32.0", "device": "cpu", "environment": "", "served_names": ["one"], "port": box.port},
            **{"folder": f"{box.root}/services/one", "log": f"{box.root}/one.log", "init": "systemd"},
            **{"unit_prefix": box.name, "cluster": "one-main", "endpoints": want.endpoints, "weights": "org/model"},
            **{"start_timeout_s": 60, "stop_timeout_s": 5, "prompts": ["Hello"], "instead_of": box.name},
            "variables": {"STANDIN_BROKEN": "1"},
            "container": {"image": image, "port": box.port, "inside": 8000},
            "image": box.engine.out("image", "inspect", "--format", "{{.Id}}", image),
        }
    )
    with pytest.raises(StartFailed, match=rf"smoke test.*\n.*: container {box.name} was started again and serves$"):
        await Replica().converge(box.host, after, after)
    assert box.engine.out("inspect", "--format", "{{.State.Running}}", box.name) == "true"
    assert await box.routed() == (box.port,)
    assert box.engine.out("ps", "--all", "--quiet", "--filter", f"label=dev.berth.stack={box.name}") == ""
    # The next update sees that it runs, stops it and tries again; without `take`, it is as adopted as before.
    assert ADOPTED.differing(taking, await ADOPTED.observe(box.host, taking)) == ["state"]
    assert await ADOPTED.observe(box.host, want) == want


async def test_a_process_is_adopted_by_its_port(box: Box, tmp_path: Path) -> None:
    program = tmp_path / "vllm"  # as a real one is called
    program.write_text(SOURCE.read_text())
    words = ["serve", "org/model", "--served-model-name", "one", "--max-model-len", "512", "--enforce-eager"]
    argv = [sys.executable, str(program), *words, "--port", str(box.port)]
    want = box.want(container="")
    with pytest.raises(BadInput, match=rf"the process that listens on port {box.port} is not on box"):
        await ADOPTED.preflight(box.host, want)
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
    try:
        assert await ADOPTED.converge(box.host, want, want) == want
        assert (await ADOPTED.outputs(box.host, want))["pid"] == process.pid
        assert await box.routed() == (box.port,)
        (said,) = await ADOPTED.warnings(box.host, want)
        assert "would add: a service that is started again" in said
        assert await ADOPTED.converge(box.host, None, want) is None
        assert process.returncode is None
    finally:
        process.terminate()
        await process.wait()
    assert await ADOPTED.observe(box.host, want) is None
