"""Docker itself is restarted, and each container killed in turn, while clients ask: which requests fail, until when.

The table that this prints is in docs/docker.md. Cards come by the runtime of the container toolkit, so that this Docker
(26.1) starts its containers again by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from gpu_box import BY_RUNTIME, There, bring, committed
from outage import Noticed, noticed
from project import Project

from tests.gateway.conftest import envoy
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image, envoy_image
from tests.machines.fixtures import machine_engine
from tests.provider.operations.gpu_machine import GpuMachine, gpu_machine

__all__ = ["envoy", "gpu_machine", "machine_engine"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd, pytest.mark.soak, pytest.mark.timeout(1200)]

NAMES = ("tinyllama", "qwen", "yi")
ENGINES = tuple(f"{name}-main-0" for name in NAMES)
START_S = 4
"""How long each stand-in takes to start, half of it profiling its card."""

_AS_THE_TOOLKIT = "nvidia-ctk config --in-place --set nvidia-container-runtime.mode=cdi"


@pytest.fixture
def box(project: Project, gpu_machine: GpuMachine, machine_engine: Engine, envoy: str) -> Iterator[There]:
    gpu_machine.out(_AS_THE_TOOLKIT)
    made = committed("rtx5090", project, gpu_machine, daemon=BY_RUNTIME)
    engine, gateway = engine_image(machine_engine, release="0.10.1.1"), envoy_image(machine_engine, envoy)
    bring(gpu_machine, machine_engine, engine, gateway)
    del made.content["monitoring"]
    made.content["gateway"]["image"] = gateway
    for model in made.content["models"].values():
        model["engine"] = {"name": "vllm", "image": engine}
        model["environment"] = {"STANDIN_START_S": str(START_S)}
    made.init()
    try:
        yield made
    finally:
        made.remove_all()


def test_what_clients_notice_of_a_restart(box: There) -> None:
    box.up()
    assert {box.inspect(engine, "{{.HostConfig.Runtime}}") for engine in ENGINES} == {"nvidia"}
    starts = box.profiled(ENGINES)
    for service in (*ENGINES, "gateway", "gateway-watcher"):
        for model, what in _killed(box, service).items():
            _say(f"kill -9 of {service}", model, what)
            assert what.failed == 0 or service in {"gateway", f"{model}-main-0"}
    assert box.profiled(ENGINES) == starts + len(ENGINES)
    seen = noticed(box, NAMES, lambda: box.there.out("systemctl restart docker"), lambda: _all_up(box))
    for model, what in seen.items():
        _say("systemctl restart docker", model, what)
        assert what.last < 120
    assert box.profiled(ENGINES) == starts + 2 * len(ENGINES)
    box.up("--expect-no-changes")
    box.destroyed()


def _killed(box: There, service: str) -> dict[str, Noticed]:
    pid = box.inspect(service, "{{.State.Pid}}")

    def back() -> bool:
        return box.inspect(service, "{{.State.Running}} {{.State.Pid}}") not in {f"true {pid}", "true 0", "false 0"}

    return noticed(box, NAMES, lambda: box.there.out('kill -9 "$1"', pid), back)


def _all_up(box: There) -> bool:
    return all(_is_up(box, engine) for engine in ENGINES)


def _is_up(box: There, engine: str) -> bool:
    return box.logs(engine).count("giving up its turn: ready") >= 3


def _say(what: str, model: str, seen: Noticed) -> None:
    sys.stdout.write(f"{what} | {model} | {seen}\n")
