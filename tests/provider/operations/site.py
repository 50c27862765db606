"""A host on which services really run: this machine under supervisord, or a machine with systemd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from berth.provider.command import put, shell
from berth.provider.connection import Connection
from berth.provider.host import Host
from berth.provider.operations.process import Process, ProcessWant
from berth.provider.operations.replica import Replica
from berth.provider.operations.supervisor import Supervisor, SupervisorWant
from berth.provider.operations.workspace import Workspace, WorkspaceWant
from berth.provider.replica import ReplicaWant
from tests.engine_standin.standin import SOURCE, START
from tests.ports import free_port

PROCESS = Process()
REPLICA = Replica()


@dataclass
class Site:
    """One host with a manager of services, and the stand-in engine on it."""

    host: Host
    supervision: dict[str, Any]
    supervisor: SupervisorWant | None = None
    said: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        return self.host.workspace

    async def sh(self, script: str, *arguments: str) -> str:
        """What a person would type on the host."""
        return (await self.host.quietly().run(shell(script, *arguments, says="a hand", timeout_s=120))).stdout.strip()

    def process(self, name: str = "it", **more: Any) -> ProcessWant:
        """A process that says what it is and sleeps."""
        return ProcessWant.model_validate(
            {
                **{"host": "box", "name": name, "folder": f"{self.root}/services/{name}"},
                **{"log": f"{self.root}/logs/{name}.log", "stop_timeout_s": 5, "start_timeout_s": 20},
                "argv": ["sh", "-c", "echo up; while :; do sleep 1000; done"],
                **self.supervision,
                **more,
            }
        )

    def replica(self, name: str = "one", **more: Any) -> ReplicaWant:
        """A stand-in engine."""
        return ReplicaWant.model_validate(
            {
                **{"host": "box", "name": name, "model": name, "revision": "main", "engine": "vllm"},
                **{
                    "version": "0.32.0",
                    "device": "cpu",
                    "environment": f"{self.root}/environments/engine",
                    "weights": "/models/x",
                },
                **{"served_names": [name], "folder": f"{self.root}/services/{name}"},
                **{"log": f"{self.root}/logs/{name}.log", "start_timeout_s": 30, "stop_timeout_s": 5},
                "port": free_port(),
                **self.supervision,
                **more,
            }
        )

    async def pid(self, want: ProcessWant | ReplicaWant) -> int:
        """Its main process, 0 while there is none."""
        found = await self.sh('cut -d" " -f1 "$1/state/process" 2> /dev/null || :', want.folder)
        return int(found) if found.isdecimal() else 0

    async def session(self, pid: int) -> list[str]:
        """The live processes of a session."""
        return (await self.sh("ps -o pid=,stat= -s $1 | grep -v Z || :", str(pid))).splitlines()

    async def alive(self, pid: int) -> bool:
        look = 'case "$(sed "s/.*) //" "/proc/$1/stat" 2> /dev/null)" in ""|Z*|X*) ;; *) echo yes ;; esac'
        return await self.sh(look, str(pid)) == "yes"

    async def log(self, want: ProcessWant | ReplicaWant) -> str:
        return await self.sh('cat -- "$1" 2> /dev/null || :', want.log) + "\n"


@contextlib.asynccontextmanager
async def site(connection: Connection, root: str, python: str, supervision: dict[str, Any]) -> AsyncIterator[Site]:
    """A site in the folder `root` of a host; everything of it is gone afterwards."""
    said: list[str] = []
    made = Site(Host(name="box", workspace=root, connection=connection, say=said.append), supervision, said=said)
    for command in (
        put(f"{root}/environments/engine/vllm.py", SOURCE.read_text()),
        put(f"{root}/environments/engine/bin/vllm", START, mode="0755"),
        shell('ln -sf -- "$1" "$2"', python, f"{root}/environments/engine/bin/python", says="linking"),
    ):
        await made.host.quietly().run(command)
    if supervision["init"] == "supervisord":
        environment = str(Path(supervision["supervisorctl"]).parent.parent)
        made.supervisor = SupervisorWant(host="box", folder=f"{root}/supervisor", environment=environment)
        await Supervisor().converge(made.host.quietly(), made.supervisor, made.supervisor)
    try:
        yield made
    finally:
        sweep = WorkspaceWant(host="box", path=root, unit_prefix=supervision["unit_prefix"])
        await Workspace().converge(made.host.quietly(), None, sweep)
        await connection.close()


async def until(condition: Callable[[], Awaitable[Any]], limit_s: float = 30) -> None:
    """Waits for what another process does."""
    async with asyncio.timeout(limit_s):
        while not await condition():
            await asyncio.sleep(0.05)


def configured(**settings: object) -> dict[str, str]:
    """Settings of the stand-in as variables of its environment."""
    return {f"STANDIN_{name.upper()}": str(value) for name, value in settings.items()}
