"""The container toolkit: what is seen of it on machines, and what its own program makes of a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from berth.catalogue.docker import daemon_defaults, daemon_settings
from berth.facts import HostFacts
from berth.facts.model import FileFact
from berth.provider.errors import BadInput
from berth.provider.operations.container_toolkit import ContainerToolkit, ContainerToolkitWant
from berth.provider.operations.docker_configuration import DockerConfiguration, DockerConfigurationWant
from tests.facts.fixtures import recorded
from tests.provider.operations.facts_host import known
from tests.provider.operations.gpu_machine import GpuMachine

OPERATION = ContainerToolkit()
WANT = ContainerToolkitWant(host="box")
BOX = recorded("rtx5090-ubuntu2404")
PATH = "/etc/nvidia-container-runtime/config.toml"


def changed(config: str | None = "", toolkit: str | None = "1.20.1", **docker: Any) -> HostFacts:
    """The box with another toolkit."""
    files = {**BOX.files, PATH: FileFact(mode="0644", owner="root:root", content=config)}
    fresh = BOX.docker.model_copy(update=docker)
    return BOX.model_copy(update={"files": files, "toolkit": toolkit, "docker": fresh})


@pytest.mark.parametrize(
    ("facts", "different"),
    [
        (BOX, []),
        (recorded("debian13"), ["existence"]),
        (recorded("v100-ubuntu2204"), ["version"]),
        (changed('[nvidia-container-runtime]\nmode = "auto"\n'), []),
        (changed('[nvidia-container-runtime]\nmode = "legacy"\n'), ["mode"]),
        (changed('[nvidia-container-runtime]\nmode = "of tomorrow"\n'), ["mode"]),
        (changed("[nvidia-container-cli]\nno-cgroups = true\n"), ["no_cgroups"]),
        (changed('#no-cgroups = true\nnvidia-container-cli = "odd"\n'), []),
        (changed("[nvidia-container-cli\n"), ["problem"]),
        (changed(None), ["problem"]),
        (changed(detected=False), ["detected"]),
        (changed(detected=None), []),
    ],
)
def test_what_is_seen(facts: HostFacts, different: list[str]) -> None:
    assert OPERATION.differing(WANT, OPERATION.seen(facts, WANT)) == different


def test_what_was_seen_can_be_kept_in_a_state() -> None:
    have = OPERATION.seen(changed('[nvidia-container-runtime]\nmode = "of tomorrow"\n'), WANT)
    assert have is not None
    assert ContainerToolkitWant.model_validate(have.plain()).mode == "another"


async def test_a_broken_configuration_is_refused_beforehand() -> None:
    with pytest.raises(BadInput, match=r"box: /etc/nvidia.*config.toml: .*line 1.*; must be TOML; repair it"):
        await OPERATION.preflight(known(changed("[nvidia-container-cli\n")), WANT)


async def test_a_toolkit_that_will_be_installed_is_not_refused() -> None:
    await OPERATION.preflight(known(recorded("debian13")), WANT)


async def test_a_preview_says_that_docker_starts_anew() -> None:
    facts = changed(detected=False, running=1)
    (told,) = await OPERATION.warnings(known(facts), WANT)
    assert told.startswith(
        "Docker is restarted once, to know of the container toolkit, which stops 1 container; with docker"
    )
    assert await OPERATION.warnings(known(changed(toolkit=None, running=1)), WANT)
    for quiet in (changed(detected=False, running=0), changed(running=1), recorded("debian13")):
        assert not await OPERATION.warnings(known(quiet), WANT)


# With the real toolkit


def installed_anew(machine: GpuMachine) -> None:
    """As if its packages had just been installed for the first time; what tells it are times in whole seconds."""
    anew = 'sleep 1; touch -c /usr/bin/nvidia-container-runtime; cp -r "$1" "$1.new"; rm -r "$1"; mv "$1.new" "$1"'
    for folder in ("/etc/nvidia-container-toolkit", "/etc/nvidia-container-runtime"):
        machine.out(anew, folder)


@pytest.mark.systemd
async def test_the_toolkit_configures_itself_and_docker_looks_for_it_again(gpu_machine: GpuMachine) -> None:
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    before = gpu_machine.pid
    breaking = ("--set", "nvidia-container-runtime.mode=legacy", "--set", "nvidia-container-cli.no-cgroups=true")
    gpu_machine.machine.run(["nvidia-ctk", "config", "--in-place", "--config-file", PATH, *breaking])
    gpu_machine.out('sed -i \'s/^log-level.*/log-level = "debug"/\' "$1"', PATH)  # by hand
    assert OPERATION.differing(WANT, OPERATION.seen(await gpu_machine.facts(), WANT)) == ["mode", "no_cgroups"]
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert 'log-level = "debug"' in gpu_machine.out('cat "$1"', PATH)
    assert gpu_machine.pid == before
    gpu_machine.out("sleep 1; touch -c /usr/bin/nvidia-container-runtime")  # as by an upgrade
    assert OPERATION.differing(WANT, OPERATION.seen(await gpu_machine.facts(), WANT)) == []
    installed_anew(gpu_machine)
    assert OPERATION.differing(WANT, OPERATION.seen(await gpu_machine.facts(), WANT)) == ["detected"]
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert gpu_machine.pid != before
    gpu_machine.said.clear()
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert gpu_machine.said == []


@pytest.mark.systemd
async def test_one_restart_serves_configuration_and_toolkit(gpu_machine: GpuMachine) -> None:
    before = gpu_machine.configured('{"labels": ["made=by-hand"]}')
    installed_anew(gpu_machine)
    few = {
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 4096, "Hard": 8192}}
    }  # test machines allow few files
    daemon = DockerConfigurationWant(
        host="box", settings={**daemon_settings(gpu=True), **few}, defaults=daemon_defaults()
    )
    await DockerConfiguration().converge(gpu_machine.host, daemon, daemon)
    once = gpu_machine.pid
    await OPERATION.converge(gpu_machine.host, WANT, WANT)
    assert before != once == gpu_machine.pid
    assert "nvidia" in gpu_machine.asked("{{json .Runtimes}}")
    ran = gpu_machine.out(
        "docker run --rm --network none --device nvidia.com/gpu=0 probe sh -c 'ulimit -n; nvidia-smi -L'"
    )
    assert ran.startswith("4096\nGPU 0: NVIDIA GeForce RTX 5090")
    assert "made=by-hand" in gpu_machine.daemon_json
