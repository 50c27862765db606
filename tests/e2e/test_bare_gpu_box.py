"""The stack of the RTX 5090 on a machine that has nothing: one update from an untouched Debian to proved engines.

Driver (a stand-in) and a reboot into it, Docker, the container toolkit, images from a registry by their digests, three
engines on one card, gateway and monitoring, over SSH. Not as committed is what `gpu_box` says, and of the prerequisites
that a reboot is allowed, that the packages come from the local repositories, and that Docker may ask a registry
without encryption.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
import requests
from gpu_box import USER, Images, There, with_prerequisites
from prerequisites.playground import OPEN_FILES, repositories, snapshot, write_keys
from project import Project, until

from tests.gateway.conftest import envoy
from tests.machines.engine import Engine
from tests.machines.fixtures import machine_engine, or_skip
from tests.machines.kinds import DEBIAN_13_SERVER
from tests.machines.registry import registry
from tests.machines.repository.local import local_repository
from tests.monitoring.conftest import prometheus
from tests.provider.operations.gpu_machine import GpuMachine
from tests.sshd.machine import start

__all__ = ["envoy", "machine_engine", "prometheus"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd, pytest.mark.timeout(1200)]

NAMES = ("tinyllama", "qwen", "yi")
ENGINES = tuple(f"{name}-main-0" for name in NAMES)
KINDS = {
    *("PackageRepository", "UnattendedUpgrades", "Packages", "DockerEngine", "DockerConfiguration"),
    *("ContainerToolkit", "NvidiaDriver", "LoadedDriver", "PersistenceMode", "CdiSpecification"),
    *("Workspace", "Directory", "File", "Image", "HubModel", "Replica"),
    *("Key", "Configuration", "Process", "Ready", "SmokeTest", "LoadTest"),
}
BESIDE = ("gateway", "gateway-watcher", "monitoring-gpu", "monitoring-prometheus")


@pytest.fixture
def bare(project: Project, machine_engine: Engine, envoy: str, prometheus: str) -> Iterator[There]:
    """The stack for an untouched machine, with the images that a registry beside it has."""
    with or_skip("untouched machine and a registry of images"), registry(machine_engine) as images:
        offered = Images(*map(images.push, Images.of_tests(machine_engine, envoy, prometheus)))
        repository = local_repository(machine_engine)
        there = start(machine_engine, DEBIAN_13_SERVER, hardware="rtx5090", repository=repository.served)
        try:
            made = with_prerequisites("rtx5090", project, GpuMachine(there))
            made.use(offered)
            said = made.content["hosts"]["box"]["prerequisites"]
            said["driver"]["reboot"] = "allowed"
            said["docker"]["settings"] = {**OPEN_FILES, "insecure-registries": [images.address]}
            said["repositories"] = repositories(repository)
            write_keys(project, repository)
            made.init()
            yield made
        finally:
            there.machine.remove()


def test_one_update_takes_an_untouched_machine_to_proved_engines(bare: There) -> None:
    _a_preview_lists_everything_and_touches_nothing(bare)
    output = bare.up()
    assert "rebooting box: driver 580.105.08 on disk, nouveau loaded" in output
    assert re.search(r"berth-test-engine@sha256:[0-9a-f]{64} creating .* pulling: 2 of 2 layers", output), output
    _everything_answers(bare, *NAMES)
    assert bare.profiled(ENGINES) == len(NAMES)
    bare.up("--expect-no-changes")
    _a_model_less_is_one_engine_less(bare)
    _a_destroy_keeps_what_it_was_made_ready_with(bare)


def _a_preview_lists_everything_and_touches_nothing(bare: There) -> None:
    before = snapshot(bare.there.machine)
    preview = bare.project.pulumi(bare.name, "preview").ok().output
    assert snapshot(bare.there.machine) ^ before == set()
    assert "the machine will be rebooted, reboot: allowed says so" in preview
    listed = set(re.findall(r"^ \+  berth:(?!index:)\w+:(\w+) \S+ create", preview, re.MULTILINE))
    assert listed == KINDS, preview
    assert preview.count("berth:serving:Replica") == len(NAMES)


def _everything_answers(bare: There, *names: str) -> None:
    """Through the gateway, on the card, and from images that are what the registry's digests say."""
    assert set(bare.containers()) == {*(f"{name}-main-0" for name in names), *BESIDE}
    for name in names:
        assert bare.ask(name).status_code == 200
        assert bare.ask(name, f"/{name}").status_code == 200
        card = bare.docker("exec", bare.container(f"{name}-main-0"), "nvidia-smi", "-L")
        assert card.startswith("GPU 0: NVIDIA GeForce RTX 5090 (UUID: GPU-")
        asked = bare.inspect(f"{name}-main-0", "{{.Config.Image}} {{.Image}}").split()
        assert asked[0] == bare.content["models"][name]["engine"]["image"]
        assert bare.docker("image", "inspect", "--format", "{{.Id}} {{index .RepoDigests 0}}", asked[0]).split() == [
            asked[1],
            asked[0],
        ]
    listed = requests.get(f"{bare.door}/v1/models", headers=bare.headers, timeout=5)
    assert {model["id"] for model in listed.json()["data"]} == set(names)
    assert requests.get(f"{bare.door}/health", timeout=5).status_code == 200


def _a_model_less_is_one_engine_less(bare: There) -> None:
    before = bare.containers()
    del bare.content["models"]["yi"]
    bare.write()
    bare.up()
    _everything_answers(bare, "tinyllama", "qwen")
    assert bare.ask("yi").status_code == 404
    assert all(bare.containers()[one] == before[one] for one in ENGINES[:2])


def _a_destroy_keeps_what_it_was_made_ready_with(bare: There) -> None:
    there = bare.there
    packages = "dpkg-query -Wf '${Package} ${Version} ${db:Status-Abbrev}\\n'; cat /etc/docker/daemon.json"
    before = there.out(packages)
    bare.destroyed()
    assert there.out(packages) == before
    assert there.out("systemctl is-active docker nvidia-persistenced").split() == ["active", "active"]
    assert there.out('ls "/home/$1/.local/share/berth/rtx5090" 2> /dev/null || :', USER) == ""
    image = bare.content["models"]["qwen"]["engine"]["image"]
    run = "docker run --rm --network none --device nvidia.com/gpu=all --entrypoint nvidia-smi"
    assert there.out(f'{run} "$1" -L', image).startswith("GPU 0: NVIDIA GeForce RTX 5090 (UUID: GPU-")


@pytest.mark.soak  # several minutes, and a machine of its own
def test_what_an_update_left_that_was_killed_amid_its_pulls_the_next_completes(bare: There) -> None:
    """With `reboot: never`, as committed: the first update ends before any engine, and a person reboots."""
    del bare.content["hosts"]["box"]["prerequisites"]["driver"]["reboot"]
    bare.write()
    refused = bare.tried()
    assert refused.status != 0
    assert "box: reboot needed: driver 580.105.08 on disk, nouveau loaded" in refused.output
    assert not set(bare.containers()) & set(ENGINES)
    bare.there.machine.reboot()
    image = bare.content["models"]["qwen"]["engine"]["image"]
    with bare.project.start(bare.name, "up", "--yes", "--skip-preview") as process:
        pulling = next((line for line in process.stdout or () if f"pulling {image}" in line), None)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert pulling is not None
    until(lambda: not bare.provider_runs(), "the end of the provider", 60)
    bare.project.pulumi(bare.name, "cancel", "--yes").ok()
    bare.up()
    _everything_answers(bare, *NAMES)
    bare.project.unchanged(bare.name).ok()
    bare.there.machine.reboot()
    del bare.door  # it may have another address now
    until(lambda: all(_serves(bare, name) for name in NAMES), "the return of all engines after a reboot", 120)
    assert bare.profiled(ENGINES) == 2 * len(NAMES)
    bare.project.unchanged(bare.name).ok()
    _a_destroy_keeps_what_it_was_made_ready_with(bare)


def _serves(bare: There, name: str) -> bool:
    try:
        return bare.ask(name).status_code == 200
    except requests.ConnectionError:
        return False
