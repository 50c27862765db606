"""Supervisor, workspace, processes, replicas and the gateway's files: what is run for which difference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berth.gateway.xds import response
from berth.provider.command import Command, put
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operations.gateway_configuration import GatewayConfiguration, GatewayConfigurationWant
from berth.provider.operations.process import Process, ProcessWant
from berth.provider.operations.replica import Replica, ReplicaWant
from berth.provider.operations.supervisor import Supervisor, SupervisorWant
from berth.provider.operations.workspace import Workspace, WorkspaceWant
from berth.provider.supervision.managers import _UPDATE
from berth.provider.supervision.service import RUNNER, Service

CONTROL = ("/w/env/bin/supervisorctl", "-c", "/w/supervisor/supervisord.conf")
UNDER: dict[str, dict[str, Any]] = {
    "supervisord": {
        "init": "supervisord",
        "supervisor_folder": "/w/supervisor",
        "supervisorctl": "/w/env/bin/supervisorctl",
    },
    "systemd": {"init": "systemd", "unit_prefix": "berth-dev"},
}


def argv(command: Command) -> tuple[str, ...]:
    """A command's arguments, a script's without the shell around it."""
    return (command.argv[3], *command.argv[5:]) if command.argv[:2] == ("sh", "-eu") else command.argv


# Supervisor

SUPERVISOR = SupervisorWant(host="box", folder="/w/supervisor", environment="/w/env")
SUPERVISOR_FILES = [
    put("/w/supervisor/supervisord.conf", SUPERVISOR.configuration(), mode="0600"),
    put("/w/supervisor/start", SUPERVISOR.hook(), mode="0755"),
]


def test_a_missing_supervisord_is_written_and_started_by_the_script_that_starts_it_later() -> None:
    *written, start = Supervisor().steps(SUPERVISOR, None)
    assert written == SUPERVISOR_FILES
    assert start.argv == ("sh", "/w/supervisor/start")


def test_the_script_holds_for_folders_with_blanks_and_quotes() -> None:
    hook = SUPERVISOR.model_copy(update={"folder": "/it's a {folder}", "environment": "/e n v"}).hook()
    assert """\nfolder='/it'"'"'s a {folder}'\nenvironment='/e n v'\n""" in hook


def test_a_stopped_supervisord_is_written_and_started() -> None:
    stopped = SUPERVISOR.model_copy(update={"state": "stopped"})
    assert Supervisor().differing(SUPERVISOR, stopped) == ["state"]
    assert Supervisor().steps(SUPERVISOR, stopped) == Supervisor().steps(SUPERVISOR, None)


def test_an_edited_supervisord_that_runs_is_written_and_goes_on_running() -> None:
    edited = SUPERVISOR.model_copy(update={"definition": "edited by hand"})
    assert Supervisor().steps(SUPERVISOR, edited) == SUPERVISOR_FILES


def test_a_supervisord_is_stopped_before_its_folder_goes() -> None:
    (stop,) = Supervisor().steps(None, SUPERVISOR)
    assert argv(stop)[1:] == ("/w/supervisor", "/w/env/bin/supervisorctl")
    assert stop.timeout_s == 180
    assert Supervisor().steps(None, None) == []


async def test_a_folder_too_deep_for_a_socket_is_refused(host: Host) -> None:
    deep = SUPERVISOR.model_copy(update={"folder": "/" + "d" * 100})
    with pytest.raises(BadInput, match=r"^hosts\.box\.root: /d+/socket is longer than the 100 bytes "):
        await Supervisor().preflight(host, deep)
    await Supervisor().preflight(host, SUPERVISOR)


# Workspace

WORKSPACE = WorkspaceWant(host="box", path="/w", unit_prefix="berth-dev")


def test_a_workspace_is_only_ever_removed() -> None:
    assert Workspace().steps(WORKSPACE, None) == Workspace().steps(WORKSPACE, WORKSPACE) == []
    containers, sweep = Workspace().steps(None, WORKSPACE)
    assert argv(containers)[1:] == ("berth-dev",)
    assert containers.docker
    ours = ("bin", "environments", "gateway", "logs", "models", "monitoring", "services", "supervisor", "update")
    assert argv(sweep)[1:] == ("/w", "berth-dev", *ours)


# Process


def process(init: str, **more: Any) -> ProcessWant:
    declared = {
        **{"host": "box", "name": "it", "folder": "/w/services/it", "argv": ["serve", "a b"], "log": "/w/log/it.log"},
        **{"stop_timeout_s": 7},
    }
    return ProcessWant.model_validate({**declared, **UNDER[init], **more})


def written(want: ProcessWant | ReplicaWant) -> list[Command]:
    service, manager = want.service(), want.manager()
    return [
        put(f"{service.folder}/runner.sh", RUNNER),
        put(f"{service.folder}/run", service.render(), mode="0755"),
        put(manager.unit_path(service), manager.unit(service)),
    ]


LOAD = {
    "supervisord": [(_UPDATE, CONTROL[0], CONTROL[2], "it")],
    "systemd": [('systemctl daemon-reload; systemctl enable --quiet "$1"', "berth-dev-it.service")],
}
START = {
    "supervisord": [(*CONTROL, "start", "it")],
    "systemd": [
        (
            'systemctl reset-failed "$1" 2> /dev/null || :; systemctl start --no-block "$1"',
            "berth-dev-it.service",
        )
    ],
}
STOP = {"supervisord": [(*CONTROL, "stop", "it")], "systemd": [("systemctl", "stop", "berth-dev-it.service")]}
ROOM = (
    """
logs=$(dirname -- "$1")
(umask 077; mkdir -p -- "$logs")
if [ -O "$logs" ]; then chmod 0700 -- "$logs"; fi
""",
    "/w/log/it.log",
)


@pytest.mark.parametrize("init", ["supervisord", "systemd"])
@pytest.mark.parametrize(
    ("have", "steps"),
    [
        pytest.param(None, ["write", "load", "start"], id="missing"),
        pytest.param({}, [], id="as declared"),
        pytest.param({"state": "starting"}, [], id="starting, which is waited for"),
        pytest.param({"state": "stopped"}, ["load", "start"], id="stopped"),
        pytest.param({"state": "outdated"}, ["stop", "start"], id="runs an older definition"),
        pytest.param({"argv": ["serve"]}, ["stop", "write", "load", "start"], id="other arguments"),
        pytest.param({"definition": "edited by hand"}, ["write", "load"], id="runs as declared, a file is not ours"),
        pytest.param({"definition": "missing"}, ["write", "load"], id="runs as declared, a file is missing"),
        pytest.param(
            {"definition": "edited by hand", "state": "outdated"}, ["stop", "write", "load", "start"], id="edited"
        ),
        pytest.param({"argv": ["x"], "state": "stopped"}, ["stop", "write", "load", "start"], id="both"),
    ],
)
def test_each_state_of_a_process_is_answered_by_its_steps(
    init: str, have: dict[str, Any] | None, steps: list[str]
) -> None:
    want = process(init)
    parts = {
        "write": [argv(command) for command in written(want)],
        "load": [ROOM, *LOAD[init]],
        "start": START[init],
        "stop": STOP[init],
    }
    expected = [command for step in steps for command in parts[step]]
    seen = None if have is None else want.model_copy(update=have)
    commands = Process().steps(want, seen)
    assert [argv(command) for command in commands] == expected
    assert [command.stdin for command in commands if command.stdin] == (
        [command.stdin for command in written(want)] if "write" in steps else []
    )


@pytest.mark.parametrize(
    ("limits", "lines"),
    [
        ({}, []),
        ({"cpus": 6, "memory": 24 * 2**30}, ["CPUQuota=600%", "MemoryMax=25769803776"]),
        ({"cpus": 0.5}, ["CPUQuota=50%"]),
    ],
)
def test_limits_are_in_the_unit_and_read_back_from_the_script(limits: dict[str, Any], lines: list[str]) -> None:
    about = {"name": "it", "model": "it", "revision": "main", "engine": "vllm", "version": "0.32.0", "device": "cpu"}
    places = {"host": "box", "environment": "/e", "folder": "/w/services/it", "log": "/w/log/it.log", "port": 1}
    more = {"served_names": ["it"], "start_timeout_s": 7, "stop_timeout_s": 7}
    want = ReplicaWant.model_validate({**about, **places, **more, **UNDER["systemd"], **limits})
    unit = want.manager().unit(want.service())
    assert [line for line in unit.splitlines() if line.startswith(("CPUQuota", "MemoryMax"))] == lines
    seen = Service.parse(want.service().render())
    assert seen == want.service()
    assert {key: seen.about[key] for key in ("cpus", "memory") if key in seen.about} == limits
    assert ('"memory"' in want.service().render()) is ("memory" in limits), "what says nothing changes no definition"


@pytest.mark.parametrize("init", ["supervisord", "systemd"])
def test_a_removed_process_is_stopped_forgotten_and_cleared_away(init: str) -> None:
    stop, *_, clear = (commands := list(Process().steps(None, process(init))))
    assert argv(stop) == STOP[init][0]
    assert stop.timeout_s == 37  # its own seven seconds and what the manager needs
    assert argv(clear)[1:] == ("/w/services/it", "/w/log/it.log")
    assert any("/w/supervisor/conf.d/it.conf" in c.argv or "berth-dev-it.service" in c.argv for c in commands[1:-1])
    assert Process().steps(None, None) == []


def test_the_environment_of_a_process_is_in_no_argument() -> None:
    want = process("supervisord", environment={"TOKEN": "s3cret"})
    assert not any("s3cret" in word for command in Process().steps(want, None) for word in command.argv)


# Replica


def test_a_replica_s_command_and_what_it_carries_along() -> None:
    want = ReplicaWant.model_validate(
        {
            **{"host": "box", "name": "it", "model": "qwen", "revision": "main", "engine": "vllm"},
            **{"version": "0.32.0", "device": "cpu", "environment": "/e", "weights": "/m", "served_names": ["a", "b"]},
            **{"arguments": {"max_model_len": 1024, "enforce_eager": True}, "port": 8101, "folder": "/w/services/it"},
            **{"log": "/w/log/it.log", "locks": ["/l/0"], "start_timeout_s": 60, "stop_timeout_s": 7},
            **UNDER["supervisord"],
        }
    )
    assert "s3cret" not in repr(want.model_copy(update={"secrets": {"HF_TOKEN": "s3cret"}}))
    service = want.service()
    turned = want.model_copy(update={"arguments": dict(reversed(want.arguments.items()))})
    assert turned.service() == service
    assert service.argv == (
        *("/e/bin/vllm", "serve", "/m", "--host", "127.0.0.1", "--port", "8101"),
        *("--served-model-name", "a", "b", "--enforce-eager", "--max-model-len", "1024"),
    )
    assert service.locks == ("/l/0",)
    assert service.ready[0] == "/e/bin/python"
    assert service.ready[-1] == "http://127.0.0.1:8101/health"
    assert [argv(command) for command in Replica().steps(want, None)] == [
        *(argv(command) for command in written(want)),
        *(ROOM, *LOAD["supervisord"], *START["supervisord"]),
    ]
    held = want.model_copy(update={"traffic": "held"})
    assert Replica().differing(want, held) == ["traffic"]
    assert Replica().steps(want, held) == []


# The gateway's files


def gateway(**more: Any) -> GatewayConfigurationWant:
    parts = {name: response([]) for name in ("listeners", "clusters", "routes")}
    declared = {"host": "box", "folder": "/w/gateway", "envoy": "/e/envoy", "admin_port": 9901, "bootstrap": {"n": 1}}
    return GatewayConfigurationWant.model_validate({**declared, **parts, **more})


def files(commands: list[Command]) -> list[str]:
    return [command.argv[5].rpartition("/")[2] for command in commands]


def test_the_gateway_s_files_are_published_in_order_and_closed_to_others() -> None:
    commands = list(GatewayConfiguration().steps(gateway(), None))
    assert files(commands) == ["bootstrap.json", "listeners.json", "clusters.json", "routes.json"]
    assert {command.argv[6] for command in commands} == {"0600"}
    assert json.loads(commands[3].stdin or b"") == gateway().routes


def test_only_files_that_differ_are_published() -> None:
    have = gateway(routes={"version_info": "edited", "resources": []})
    assert files(list(GatewayConfiguration().steps(gateway(), have))) == ["routes.json"]
    assert GatewayConfiguration().steps(gateway(), gateway()) == []


def test_a_cluster_is_there_before_and_after_a_route_may_name_it() -> None:
    def version(name: str) -> GatewayConfigurationWant:
        return gateway(clusters=response([{"name": name}]), routes={"version_info": name, "resources": []})

    commands = list(GatewayConfiguration().steps(version("new"), version("old")))
    assert files(commands) == ["clusters.json", "routes.json", "clusters.json"]
    names = [sorted(cluster["name"] for cluster in json.loads(commands[at].stdin or b"")["resources"]) for at in (0, 2)]
    assert names == [["new", "old"], ["new"]]


def test_the_gateway_s_folder_goes_as_a_whole() -> None:
    (remove,) = GatewayConfiguration().steps(None, gateway())
    assert argv(remove) == ('rm -rf -- "$1"', "/w/gateway")
