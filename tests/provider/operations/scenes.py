"""What operations without facts run on a host, so that it can be looked at: their verbs, against a host that records.

`steps` alone does not say it for these: they look, write, ask again and turn traffic while they converge. Each scene
goes the ways of one operation with what is declared to it; the answers are the shortest that lead on.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.operation import Operation, Want
from berth.provider.operations.adopted_replica import AdoptedReplica, AdoptedReplicaWant
from berth.provider.operations.certificate import Certificate, CertificateWant
from berth.provider.operations.directory import Directory, DirectoryWant
from berth.provider.operations.docker_image import DockerImage, DockerImageWant
from berth.provider.operations.file import File, FileWant
from berth.provider.operations.gateway_configuration import GatewayConfiguration, GatewayConfigurationWant
from berth.provider.operations.hub_model import HubModel, HubModelWant
from berth.provider.operations.package_repository import PackageRepository, PackageRepositoryWant
from berth.provider.operations.process import Process, ProcessWant, before_reload, forget, refuse_others
from berth.provider.operations.python_environment import PythonEnvironment, PythonEnvironmentWant
from berth.provider.operations.ready import Ready, ReadyWant
from berth.provider.operations.replica import Replica
from berth.provider.operations.supervisor import Supervisor, SupervisorWant
from berth.provider.operations.workspace import Workspace, WorkspaceWant
from berth.provider.reboot import reboot
from berth.provider.replica import ReplicaWant
from berth.provider.supervision.card_memory import until_given_back
from berth.provider.supervision.drain import drain
from berth.provider.supervision.secrets import secret_files, seen_secrets
from berth.provider.supervision.way_back import has_served, secrets_back, settled
from berth.provider.traffic import Traffic

Answer = tuple[str, int, str]
"""A piece of a script, and the status and output of commands whose script has it; NUMBER is how many ran so far."""


@dataclass
class Recorder:
    """A connection that runs nothing, keeps what it was to run, and answers as told."""

    answers: Sequence[Answer] = ()
    ran: list[Command] = field(default_factory=list)

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        """Keeps it; a command that nothing is told of ends well and says nothing."""
        del on_line
        self.ran.append(command)
        text = " ".join(command.argv)
        for piece, status, stdout in self.answers:
            if piece in text:
                return Result(status=status, stdout=stdout.replace("NUMBER", str(len(self.ran))), stderr="")
        return Result(status=0, stdout="", stderr="")

    @asynccontextmanager
    async def forward(self, port: int) -> AsyncIterator[str]:
        """A port that nobody listens on."""
        del port
        yield "127.0.0.1:1"

    async def close(self) -> None:
        """Nothing is open."""


Act = Callable[[Host, Any], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Ways of an operation: what is declared, and what is done with it."""

    name: str
    want: Want
    acts: Sequence[Act]
    answers: Sequence[Answer] = ()

    async def play(self, want: Want) -> list[Command]:
        """What reaches the host; that an answer was too short for what follows ends one act, not the others."""
        connection = Recorder(self.answers)
        host = Host(name="box", workspace="/w", connection=connection, say=lambda _: None)
        for act in self.acts:
            with suppress(ProviderError, ValueError, LookupError):
                await act(host, want)
        return connection.ran


def ways(operation: Operation[Any], **known: Any) -> list[Act]:
    """Looking, making, changing from what is `known` to be there, and taking away."""

    async def change(host: Host, want: Any) -> None:
        for command in operation.steps(want, want.model_copy(update=known)):
            await host.run(command)

    async def remove(host: Host, want: Any) -> None:
        for command in operation.steps(None, want):
            await host.run(command)

    async def make(host: Host, want: Any) -> None:
        for command in operation.steps(want, None):
            await host.run(command)

    return [operation.observe, operation.preflight, make, change, remove]


def _applied(operation: Operation[Any]) -> list[Act]:
    """The same by `apply`, for operations whose transition is their own and waits for nothing."""

    async def make(host: Host, want: Any) -> None:
        await operation.apply(host, want, None)

    async def change(host: Host, want: Any) -> None:
        await operation.apply(host, want, want)

    async def remove(host: Host, want: Any) -> None:
        await operation.apply(host, None, want)

    return [operation.observe, operation.preflight, make, change, remove, operation.outputs]


NAME = "it"
_LOOKED = "\n\n\n0\n0\n0\nno\n0\n\nno\n\n"
"""What is found of a service that is not there."""
_STATUS: tuple[Answer, ...] = (("runner.sh", 0, _LOOKED), ("container inspect", 0, _LOOKED))
_KEEPERS: Mapping[str, Mapping[str, Any]] = {
    "systemd": {"init": "systemd", "unit_prefix": "berth-x"},
    "supervisord": {"init": "supervisord", "supervisor_folder": "/w/supervisor", "supervisorctl": "/w/e/bin/ctl"},
    "docker": {"init": "systemd", "unit_prefix": "berth-x", "container": {"image": "a:1", "port": 8001}},
}


def _process(keeper: str) -> ProcessWant:
    plain = {"host": "box", "name": NAME, "folder": "/w/services/it", "log": "/w/logs/it.log", "argv": ["it", "--x"]}
    more = {"environment": {"A": "b"}, "working_directory": "/w", "ports": [8001]}
    return ProcessWant.model_validate({**plain, **more, **_KEEPERS[keeper]})


def _replica(keeper: str) -> ReplicaWant:
    plain = {"host": "box", "name": NAME, "model": "m", "revision": "main", "engine": "vllm", "version": "0.32.0"}
    where = {"environment": "/w/e", "weights": "/w/models/x", "folder": "/w/services/it", "log": "/w/logs/it.log"}
    runs = {"device": "cuda", "served_names": ["m"], "arguments": {"dtype": "auto"}, "variables": {"A": "b"}}
    more = {"port": 8001, "start_timeout_s": 1, "stop_timeout_s": 1, "secrets": {"HF_TOKEN": "s3cret"}}
    gateway = {"cluster": "m-main", "endpoints": "/w/gateway/m.json", "locks": ["/w/locks/0"]}
    return ReplicaWant.model_validate({**plain, **where, **runs, **more, **gateway, **_KEEPERS[keeper]})


async def _process_ends(host: Host, want: ProcessWant) -> None:
    service, manager = want.service(), want.manager()
    for command in [*forget(service, manager), manager.look(service), manager.look(service, 5)]:
        await host.run(command)


async def _ports(host: Host, want: ProcessWant) -> None:
    await refuse_others(host, want, want.service(), want.ports)


async def _units(host: Host, want: ProcessWant) -> None:
    await before_reload(host, Process(), want)


async def _replica_turns(host: Host, want: ReplicaWant) -> None:
    for command in secret_files(want.name, want.folder, want.secrets):
        await host.run(command)
    with suppress(ValueError):
        await seen_secrets(host, want.name, want.folder, want.secrets, list(want.secrets))
    for command in (secrets_back(want.name, want.folder), settled(want.name, want.folder)):
        await host.run(command)
    await has_served(host, want.name, want.folder)
    await drain(host, want.name, port=want.port, admin_port=want.admin_port, limit_s=1)
    await until_given_back(host, want.name)


async def _traffic(host: Host, want: ReplicaWant) -> None:
    route: Traffic = want.route()
    await route.observe(host)
    await route.join(host)
    await route.hold(host)
    await route.leave(host)
    await route.remove(host)


_ADOPTED = {
    "host": "box",
    "name": NAME,
    "model": "m",
    "engine": "vllm",
    "version": "0.32.0",
    "container": NAME,
    "port": 1,
}


async def _taken_over(host: Host, want: AdoptedReplicaWant) -> None:
    adopted = AdoptedReplica()
    for take, state in ((True, "running"), (False, "stopped")):
        declared = want.model_copy(update={"take": take})
        for command in adopted.steps(declared, declared.model_copy(update={"state": state})):
            await host.run(command)


async def _swept(host: Host, want: WorkspaceWant) -> None:
    await Workspace().converge(host, None, want)


async def _waited_for(host: Host, want: ReadyWant) -> None:
    await Ready().converge(host, want, want)


async def _rebooted(host: Host, want: FileWant) -> None:
    await reboot(host, why=want.path, limit_s=1)


def _cluster(model: str) -> dict[str, Any]:
    return {"name": f"{model}-main", "eds_cluster_config": {}}


_CLUSTERS = {"version_info": "1", "resources": [_cluster("m")]}
GATEWAY = GatewayConfigurationWant(
    host="box",
    folder="/w/gateway",
    envoy="/w/e/bin/envoy",
    admin_port=0,
    bootstrap={"node": {"id": "x"}, "static_resources": {}},
    listeners={"version_info": "1", "resources": []},
    clusters=_CLUSTERS,
    routes={"version_info": "1", "resources": []},
    status={"models": {}},
)


async def _gateway_changes(host: Host, want: GatewayConfigurationWant) -> None:
    gateway = GatewayConfiguration()
    await gateway.apply(host, want, None)
    other = want.model_copy(update={"clusters": {"version_info": "2", "resources": [_cluster("n")]}})
    await gateway.apply(host, other, want)
    await gateway.apply(host, None, want)


def _scenes() -> list[Scene]:
    found = []
    for keeper in _KEEPERS:
        process, replica = _process(keeper), _replica(keeper)
        engine = ways(Replica(), arguments={"dtype": "half"})
        found += [
            Scene(
                name=f"a process under {keeper}",
                want=process,
                acts=[*ways(Process(), argv=["other"]), _process_ends, _ports, _units],
                answers=_STATUS,
            ),
            Scene(
                name=f"an engine under {keeper}",
                want=replica,
                acts=[*engine, _replica_turns, _traffic],
                answers=[*_STATUS, ("cat -- ", 0, "{}")],
            ),
        ]
    certificate = CertificateWant(host="box", folder="/w/gateway", names=["localhost"])
    given = certificate.model_copy(update={"names": [], "certificate": "/c.pem", "key": "/k.pem"})
    key_url = "https://example.org/key.asc"
    encoded = base64.b64encode(b"x").decode()
    return [
        *found,
        Scene(
            name="a file",
            want=FileWant(host="box", path="/w/file", content="x", owner="a:b", root=True),
            acts=[*_applied(File()), _rebooted],
            answers=[("%U:%G", 0, f"644 a:b\n{encoded}"), ("boot_id", 0, "NUMBER")],
        ),
        Scene(
            name="a folder",
            want=DirectoryWant(host="box", path="/w/folder", owner="a:b"),
            acts=_applied(Directory()),
            answers=[("%U:%G", 0, "755 a:b\n")],
        ),
        Scene(
            name="a workspace",
            want=WorkspaceWant(host="box", path="/w", unit_prefix="berth-x"),
            acts=[*_applied(Workspace()), _swept],
        ),
        Scene(
            name="a supervisord",
            want=SupervisorWant(host="box", folder="/w/s", environment="/w/e"),
            acts=_applied(Supervisor()),
        ),
        Scene(
            name="a Python environment",
            want=PythonEnvironmentWant(
                host="box",
                path="/w/e",
                requirements=["a==1"],
                overrides=["b==1"],
                overlay={"a/b.py": "x"},
                uv="/w/bin/uv",
                downloads="/w/downloads",
                broken=["a"],
            ),
            acts=_applied(PythonEnvironment()),
        ),
        Scene(
            name="an image",
            want=DockerImageWant(host="box", image="a:1", pull="always"),
            acts=_applied(DockerImage()),
            answers=[("image inspect", 0, '"sha256:1" []')],
        ),
        Scene(
            name="a model of the hub",
            want=HubModelWant(
                host="box", repo="a/b", revision="main", cache="/c", endpoint="http://x", token="s3cret", python="py"
            ),
            acts=_applied(HubModel()),
            answers=[("exec", 0, '{"missing": [], "path": "/p", "commit": "c"}')],
        ),
        Scene(name="a certificate", want=certificate, acts=_applied(Certificate())),
        Scene(name="a given certificate", want=given, acts=_applied(Certificate()), answers=[("readlink", 0, "")]),
        Scene(name="a gateway", want=GATEWAY, acts=[*ways(GatewayConfiguration()), _gateway_changes]),
        Scene(
            name="an engine that was there",
            want=AdoptedReplicaWant.model_validate({**_ADOPTED, "take": True}),
            acts=[*ways(AdoptedReplica()), _taken_over],
        ),
        Scene(
            name="what answers",
            want=ReadyWant(host="box", name=NAME, port=1, path="/", timeout_s=0, folder="/w/services/it", log="/w/log"),
            acts=[_waited_for],
        ),
        Scene(
            name="a key that is fetched",
            want=PackageRepositoryWant(
                host="box", manager="dnf", name="x", uris=["http://x"], key_url=key_url, fingerprint="A" * 40
            ),
            acts=_applied(PackageRepository()),
            answers=[("apt-helper", 0, encoded)],
        ),
    ]


SCENES = {scene.name: scene for scene in _scenes()}
