"""Docker as a service: what is seen of it on machines, what is refused, and what real services do."""

from __future__ import annotations

from typing import Any

import pytest

from berth.facts import HostFacts
from berth.provider.errors import BadInput, CommandFailed
from berth.provider.operations.docker_engine import DockerEngine, DockerEngineWant
from tests.facts.fixtures import recorded
from tests.provider.operations.facts_host import known
from tests.provider.operations.gpu_machine import GpuMachine

OPERATION = DockerEngine()
WANT = DockerEngineWant(host="box")
BOX = recorded("rtx5090-ubuntu2404")


def changed(unit: dict[str, Any] | None = None, **docker: Any) -> HostFacts:
    """The box with another Docker."""
    service = BOX.units["docker.service"].model_copy(update=unit or {})
    facts = BOX.model_copy(update={"units": {**BOX.units, "docker.service": service}})
    return facts.model_copy(update={"docker": BOX.docker.model_copy(update=docker)})


@pytest.mark.parametrize(
    ("facts", "different"),
    [
        (BOX, []),
        (recorded("h100x8-nvswitch"), []),
        (recorded("v100-ubuntu2204"), ["installed", "minimum"]),
        (recorded("debian13"), ["existence"]),
        (recorded("a40x2-pod"), ["existence"]),
        (changed({"active": "inactive"}, version=None), ["active"]),
        (changed({"active": "failed", "enabled": "disabled"}, version=None), ["existence"]),
        (changed({"enabled": "disabled"}), ["enabled"]),
        (changed({"enabled": "enabled-runtime"}), ["enabled"]),
        (changed({"enabled": "linked"}), ["enabled"]),
        (changed({"enabled": "static"}), []),
        (changed(version="24.0.9"), ["minimum"]),
        (changed(version=None), ["answers"]),
        (changed(snap=True), ["snap"]),
        (changed(version="26.1.5+dfsg1", client="26.1.5+dfsg1"), []),  # Debian's own docker.io counts as Docker
    ],
    ids=[
        *("box", "h100", "old", "none", "pod", "stopped", "off", "not at boot", "until the boot", "linked", "static"),
        *("older", "hangs", "snap", "docker.io"),
    ],
)
def test_what_is_seen(facts: HostFacts, different: list[str]) -> None:
    assert OPERATION.differing(WANT, OPERATION.seen(facts, WANT)) == different


def test_a_daemon_that_the_login_may_not_ask_is_not_taken_for_one_that_hangs() -> None:
    facts = changed(version=None).model_copy(update={"unread": {"docker": "this login may not talk to it"}})
    assert OPERATION.differing(WANT, OPERATION.seen(facts, WANT)) == []


def test_a_docker_without_systemd_is_verified() -> None:
    facts = BOX.model_copy(update={"systemd": False, "units": {}})
    assert OPERATION.differing(WANT, OPERATION.seen(facts, WANT)) == []


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (changed(snap=True), "box: Docker: is a snap, which ignores .*, must be a package; `snap remove docker`"),
        (
            changed({"active": "inactive", "enabled": "masked"}, version=None),
            "box: Docker: docker.service is masked, must not be; `systemctl unmask docker.service`",
        ),
        (changed(version=None), "box: Docker: docker.service runs and does not answer, must answer; look at"),
        (recorded("a40x2-pod"), "box: Docker: does not run, .* cannot be changed here: this is a container"),
    ],
    ids=["snap", "masked", "hangs", "pod"],
)
async def test_what_a_person_must_decide_is_refused_beforehand(facts: HostFacts, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        await OPERATION.preflight(known(facts), WANT)


async def test_what_will_be_installed_is_not_refused() -> None:
    await OPERATION.preflight(known(recorded("debian13")), WANT)
    await OPERATION.preflight(known(recorded("v100-ubuntu2204")), WANT)


def test_what_changes_the_machine_does_so_as_root() -> None:
    for have in (None, WANT.model_copy(update={"minimum": "24.0"}), WANT.model_copy(update={"enabled": False})):
        assert all(command.root for command in OPERATION.steps(WANT, have))


# With real services


@pytest.mark.systemd
async def test_a_stopped_daemon_is_left_so_by_looking_and_started_for_good(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured(None)
    gpu_machine.out("systemctl disable --quiet docker; systemctl stop docker 2> /dev/null")
    assert OPERATION.seen(await gpu_machine.facts(), WANT) is None
    state = "systemctl is-active docker.service || :; systemctl is-enabled docker.service || :"
    assert gpu_machine.out(state).split() == ["inactive", "disabled"], "its socket starts it for whoever asks"
    have = await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert OPERATION.differing(WANT, have) == []
    assert gpu_machine.out(state).split() == ["active", "enabled"]
    before = gpu_machine.pid
    gpu_machine.said.clear()
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert (gpu_machine.pid, gpu_machine.said) == (before, [])


@pytest.mark.systemd
async def test_a_daemon_that_does_not_start_says_why_and_starts_when_it_can(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured(None)
    gpu_machine.out("systemctl stop docker.service docker.socket; echo '{' > /etc/docker/daemon.json")
    with pytest.raises(CommandFailed, match=r"(?s)starting Docker.*unable to configure the Docker daemon"):
        await OPERATION.converge(gpu_machine.host, WANT, WANT)
    gpu_machine.out("rm /etc/docker/daemon.json")
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert gpu_machine.asked("{{.ServerVersion}}")


@pytest.mark.systemd
async def test_taken_out_with_all_that_is_its_own_it_does_not_run(gpu_machine: GpuMachine) -> None:
    gpu_machine.configured(None)
    gone = WANT.model_copy(update={"on_destroy": "remove"})
    await OPERATION.converge(gpu_machine.host, None, gone)
    assert gpu_machine.machine.run(["systemctl", "is-enabled", "docker.service"]).out == "disabled\n"
    gpu_machine.out("systemctl enable --quiet --now docker.socket docker.service")
