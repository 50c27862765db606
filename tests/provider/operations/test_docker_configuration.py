"""daemon.json on machines: what is seen of it, what is refused, and what a real daemon does with a change."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from berth.catalogue.docker import NVIDIA_RUNTIME, daemon_defaults, daemon_settings
from berth.facts import HostFacts
from berth.facts.model import FileFact
from berth.provider.errors import BadInput, CommandFailed
from berth.provider.operations.docker_configuration import DockerConfiguration, DockerConfigurationWant, taken_over_by
from tests.facts.fixtures import MACHINES, recorded
from tests.machines.kinds import PASSWORD
from tests.provider.operations.facts_host import known
from tests.provider.operations.gpu_machine import GpuMachine

PATH = "/etc/docker/daemon.json"
OPERATION = DockerConfiguration()
BOX = recorded("rtx5090-ubuntu2404")
REMEDY = "with docker.live_restore: true they go on"


def want(**settings: Any) -> DockerConfigurationWant:
    return DockerConfigurationWant(host="box", settings=settings)


def with_file(facts: HostFacts, text: str | None) -> HostFacts:
    return facts.model_copy(update={"files": {PATH: FileFact(mode="0644", owner="root:root", content=text)}})


def test_drift_is_named_key_by_key() -> None:
    declared = want(**daemon_settings(gpu=True)).model_copy(update={"defaults": daemon_defaults()})
    have = OPERATION.seen(BOX, declared)
    assert have is not None
    assert have.lacking == ["default-ulimits", "log-driver", "log-opts"]
    differing = OPERATION.differing(declared, have)
    assert differing == ["lacking[0]", "lacking[1]", "lacking[2]", "settings.features"]


def test_what_the_host_says_is_no_drift_from_a_default() -> None:
    declared = want().model_copy(update={"defaults": daemon_defaults()})
    own = {
        "log-driver": "syslog",
        "log-opts": {"syslog-address": "udp://logs:514"},
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1048576, "Hard": 1048576}},
    }
    facts = with_file(BOX, json.dumps(own))
    assert OPERATION.differing(declared, OPERATION.seen(facts, declared)) == []
    low = with_file(BOX, json.dumps(own).replace("1048576", "4096"))
    assert OPERATION.differing(declared, OPERATION.seen(low, declared)) == ["lacking[0]"]


def test_a_runtime_that_nvidia_ctk_registered_is_as_declared() -> None:
    for machine in ("rtx5090-ubuntu2404", "h100x8-nvswitch", "v100-ubuntu2204"):
        declared = want(**NVIDIA_RUNTIME)
        assert OPERATION.differing(declared, OPERATION.seen(recorded(machine), declared)) == []


def test_a_machine_without_the_file_has_none() -> None:
    assert OPERATION.seen(recorded("debian13"), want(debug=True)) is None


def test_keys_of_others_are_not_seen() -> None:
    facts = with_file(BOX, '{"debug": true, "proxies": {"http-proxy": "http://me:secret@proxy"}}')
    have = OPERATION.seen(facts, want(debug=False))
    assert have is not None
    assert have.settings == {"debug": True}
    assert "secret" not in str(have.plain()) + repr(have)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{\n  "debug": true,\n}', f"{PATH}: line 3 column 1: "),
        (None, f"{PATH}: is no text, or longer than any configuration"),
        ("[]", f"{PATH}: is a list, must be an object in braces"),
    ],
)
async def test_a_broken_file_is_drift_and_refused_and_never_written(text: str | None, problem: str) -> None:
    facts = with_file(BOX, text)
    have = OPERATION.seen(facts, want(debug=True))
    assert have is not None
    assert have.problem.startswith(problem)
    assert not OPERATION.steps(want(debug=True), have)
    with pytest.raises(BadInput, match=r"box: /etc/docker/daemon.json.*must be JSON that Docker reads; repair it"):
        await OPERATION.preflight(known(facts), want(debug=True))


@pytest.mark.parametrize(
    ("settings", "of_daemon", "ignored"),
    [
        ({"runtimes": {"other": {"path": "x"}}}, {}, ["runtimes"]),
        ({"live-restore": True}, {}, ["live-restore"]),
        ({"default-runtime": "nvidia"}, {}, ["default-runtime"]),
        ({"features": {"cdi": True}}, {"cdi_dirs": ()}, ["features.cdi"]),
        ({"features": {"cdi": False}}, {}, ["features.cdi"]),
        ({"features": {"cdi": True}}, {"cdi_dirs": (), "version": "24.0.7"}, []),  # has no CDI, whatever is asked
        ({"live-restore": True}, {"version": None}, []),  # does not answer
        ({"debug": True}, {}, []),  # nothing says so
    ],
)
def test_what_the_daemon_does_not_work_by_is_drift(
    settings: dict[str, Any], of_daemon: dict[str, Any], ignored: list[str]
) -> None:
    facts = with_file(BOX, json.dumps(settings))
    facts = facts.model_copy(update={"docker": facts.docker.model_copy(update=of_daemon)})
    have = OPERATION.seen(facts, want(**settings))
    assert have is not None
    assert have.ignored == ignored


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"debug": True, "labels": ["a=b"], "live-restore": True, **NVIDIA_RUNTIME}, "reload"),
        ({"debug": True, "log-driver": "json-file"}, "restart"),
        ({"features": {"cdi": True}}, "restart"),
        ({"features": {"cdi": True}, "live-restore": True}, "both"),
        ({}, "nothing"),
    ],
)
def test_a_restart_only_where_a_reload_is_not_enough(settings: dict[str, Any], mode: str) -> None:
    assert taken_over_by(want(**settings), None) == mode


@pytest.mark.parametrize(
    ("settings", "of_daemon", "warnings"),
    [
        (
            {"log-driver": "local", "features": {"cdi": True}},
            {"running": 2},
            [f"Docker takes features.cdi, log-driver over by a restart, which stops 2 containers; {REMEDY}"],
        ),
        ({"log-driver": "local"}, {"running": 0}, []),
        ({"log-driver": "local"}, {"running": 2, "live_restore": True}, []),
        ({"log-driver": "local", "live-restore": True}, {"running": 2}, []),
        ({"debug": True}, {"running": 2}, []),
    ],
    ids=["told", "nothing runs", "live-restore is on", "live-restore comes", "a reload is enough"],
)
async def test_a_preview_says_what_a_restart_stops(
    settings: dict[str, Any], of_daemon: dict[str, Any], warnings: list[str]
) -> None:
    facts = BOX.model_copy(update={"docker": BOX.docker.model_copy(update=of_daemon)})
    assert list(await OPERATION.warnings(known(facts), want(**settings))) == warnings


@pytest.mark.parametrize("machine", MACHINES)
async def test_every_machine_gets_a_verdict(machine: str) -> None:
    facts, declared = recorded(machine), want(debug=True)
    have = OPERATION.seen(facts, declared)
    assert OPERATION.steps(declared, have)
    if facts.systemd and facts.root:
        await OPERATION.preflight(known(facts), declared)
    else:
        with pytest.raises(BadInput, match="Docker: does not run, must be as declared; it cannot be changed here"):
            await OPERATION.preflight(known(facts), declared)


# With a real daemon

HAND_MADE = '{\n\t"labels": ["made=by-hand"],\n\t"features": {"buildkit": true}\n}'


@pytest.mark.systemd
async def test_settings_are_merged_and_taken_over_by_a_reload(gpu_machine: GpuMachine) -> None:
    before = gpu_machine.configured(HAND_MADE)
    gpu_machine.with_container()
    declared = want(debug=True, **NVIDIA_RUNTIME)
    await OPERATION.converge(gpu_machine.host, declared, declared)
    assert gpu_machine.daemon_json == (
        '{\n\t"labels": [\n\t\t"made=by-hand"\n\t],\n\t"features": {\n\t\t"buildkit": true\n\t},\n'
        '\t"debug": true,\n\t"runtimes": {\n\t\t"nvidia": {\n\t\t\t"path": "nvidia-container-runtime"\n\t\t}\n\t}\n}'
    )
    assert gpu_machine.pid == before
    assert gpu_machine.running
    assert gpu_machine.asked("{{.Debug}} {{.Labels}}") == "true [made=by-hand]"
    assert gpu_machine.said == [f"changing {PATH}; Docker reloads"]
    gpu_machine.said.clear()
    await OPERATION.converge(gpu_machine.host, declared, declared)
    assert gpu_machine.said == []
    assert gpu_machine.out("ls -A /etc/docker") == "daemon.json"


@pytest.mark.systemd
async def test_a_restart_keeps_containers_when_live_restore_comes_with_it(gpu_machine: GpuMachine) -> None:
    before = gpu_machine.configured(None)
    gpu_machine.with_container()
    declared = want(**{"live-restore": True, "features": {"cdi": True}, "log-opts": {"max-size": "10m"}})
    await OPERATION.converge(gpu_machine.host, declared, declared)
    assert gpu_machine.pid != before
    assert gpu_machine.running
    assert (await gpu_machine.facts()).docker.cdi_dirs
    assert gpu_machine.said == [f"changing {PATH}; Docker reloads, then restarts"]
    assert gpu_machine.out("stat -c '%a %U' /etc/docker/daemon.json") == "644 root"


@pytest.mark.systemd
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"no-such-setting": True}, "Docker refuses the settings, nothing was changed:.*no-such-setting"),
        ({"storage-driver": "no-such"}, "Docker does not start with the settings; the file of before is back.*no-such"),
    ],
    ids=["by its validation", "at its start"],
)
async def test_refused_settings_leave_the_old_ones(
    settings: dict[str, Any], message: str, gpu_machine: GpuMachine
) -> None:
    gpu_machine.configured(HAND_MADE)
    declared = want(**settings)
    with pytest.raises(CommandFailed, match="(?s)" + message):
        await OPERATION.converge(gpu_machine.host, declared, declared)
    assert gpu_machine.daemon_json == HAND_MADE
    assert gpu_machine.asked("{{.Labels}}") == "[made=by-hand]"
    assert gpu_machine.out("ls -A /etc/docker") == "daemon.json"


@pytest.mark.systemd
async def test_a_change_by_another_in_between_is_not_lost(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured(HAND_MADE)
    host, declared = gpu_machine.host, want(debug=True)
    have = await OPERATION.observe(host, declared)
    gpu_machine.machine.run(["tee", PATH], stdin='{"labels": ["a=b"]}')
    with pytest.raises(CommandFailed, match="was changed meanwhile; run the same again"):
        await OPERATION.apply(host, declared, have)
    assert gpu_machine.daemon_json == '{"labels": ["a=b"]}'


@pytest.mark.systemd
async def test_a_lost_connection_leaves_no_half_of_it(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured(HAND_MADE)
    host, declared = gpu_machine.host, want(**{"storage-driver": "no-such"})
    started = gpu_machine.out("date +%s")
    running = asyncio.create_task(OPERATION.converge(host, declared, declared))
    failed = (
        'until journalctl -q -u docker --since "@$1" -o cat | grep -q "failed to start daemon"; do sleep 0.05; done'
    )
    await asyncio.to_thread(gpu_machine.out, failed, started)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gpu_machine.out(
        'until docker info > /dev/null 2>&1 && [ "$(ls -A /etc/docker)" = daemon.json ]; do sleep 0.1; done'
    )
    assert gpu_machine.daemon_json == HAND_MADE


@pytest.mark.systemd
async def test_a_full_disk_leaves_the_old_file(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured(None)
    gpu_machine.out("mount -t tmpfs -o size=8k tmpfs /etc/docker; echo '{}' > /etc/docker/daemon.json")
    declared = want(labels=["much=" + "x" * 10_000])
    try:
        with pytest.raises(CommandFailed, match="its disk is full; make room on the host"):
            await OPERATION.converge(gpu_machine.host, declared, declared)
        assert (gpu_machine.daemon_json, gpu_machine.out("ls -A /etc/docker")) == ("{}\n", "daemon.json")
    finally:
        gpu_machine.out("umount /etc/docker")


@pytest.mark.systemd
@pytest.mark.parametrize(("user", "password"), [("free", None), ("asks", PASSWORD)], ids=["free", "asks"])
async def test_a_login_with_sudo_changes_it_over_ssh(user: str, password: str | None, gpu_machine: GpuMachine) -> None:
    label = f"changed-by={user}"
    declared = want(labels=[label])
    async with gpu_machine.over_ssh(user, password) as host:
        await OPERATION.converge(host, declared, declared)
    assert gpu_machine.asked("{{.Labels}}") == f"[{label}]"
    assert gpu_machine.out("stat -c '%a %U' /etc/docker/daemon.json") == "644 root"


@pytest.mark.systemd
async def test_taken_out_of_the_stack_only_ours_goes(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured('{"debug": true, "labels": ["a=b"]}\n')
    known_ = want(debug=True).model_copy(update={"on_destroy": "remove"})
    await OPERATION.converge(gpu_machine.host, None, known_)
    assert gpu_machine.daemon_json == '{"labels": ["a=b"]}\n'
