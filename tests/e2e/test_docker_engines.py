"""The committed stacks of one engine each in containers, on a test machine that shows the card that they name.

The stand-ins start as the images of SGLang, TGI and vLLM do, and refuse every flag that the pinned release does not
have; how the files differ from the committed ones `gpu_box` says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from gpu_box import There, bring, committed
from project import Project

from tests.gateway.conftest import envoy
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image, envoy_image
from tests.machines.fixtures import machine_engine
from tests.provider.operations.gpu_machine import GpuMachine, gpu_machine

__all__ = ["envoy", "gpu_machine", "machine_engine"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd, pytest.mark.soak, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Case:
    """A stack: its model, its engine's image, the card as nvidia-smi shows it, and what the start command must hold."""

    stack: str
    model: str
    engine: str
    release: str
    card: str
    command: str

    def __str__(self) -> str:
        return self.stack


CASES = (
    Case(
        stack="sglang",
        model="qwen",
        engine="sglang",
        release="0.5.9",
        card="NVIDIA GeForce RTX 5090,32607,2,12.0",
        command="python3 -m sglang.launch_server --model-path",
    ),
    Case(
        stack="tgi",
        model="gpt2",
        engine="tgi",
        release="3.3.7",
        card="NVIDIA A10,23028,2,8.6",
        command="/tgi-entrypoint.sh --model-id",
    ),
    Case(
        stack="transformers",
        model="qwen",
        engine="vllm",
        release="0.11.0",
        card="NVIDIA GeForce RTX 4090,24564,2,8.9",
        command="--model-impl transformers",
    ),
)

_SHOW = r"""
sed "2s/^\([^,]*,[^,]*\),[^,]*,[^,]*,[^,]*,[^,]*,/\1,$1,/" /etc/stand-in/gpus.csv > /root/gpus.csv
mount --bind /root/gpus.csv /etc/stand-in/gpus.csv
"""


@contextlib.contextmanager
def shown(there: GpuMachine, card: str) -> Iterator[None]:
    """The machine's stand-in driver shows another card."""
    there.out(_SHOW, card)
    try:
        yield
    finally:
        there.out("umount /etc/stand-in/gpus.csv")


@pytest.fixture
def make(
    project: Project, gpu_machine: GpuMachine, machine_engine: Engine, envoy: str
) -> Iterator[Callable[[Case], There]]:
    with contextlib.ExitStack() as undone:

        def made(case: Case) -> There:
            undone.enter_context(shown(gpu_machine, case.card))
            box = committed(case.stack, project, gpu_machine)
            undone.callback(box.remove_all)
            engine = engine_image(machine_engine, name=case.engine, release=case.release)
            gateway = envoy_image(machine_engine, envoy)
            bring(gpu_machine, machine_engine, engine, gateway)
            box.content["hosts"]["box"]["runtime"] = "docker"
            said = {"name": case.engine, "version": case.release, "image": engine}
            box.content["models"][case.model]["engine"] = said
            box.content["gateway"] |= {"image": gateway, "bind": "0.0.0.0", "plain": True}
            box.init()
            return box

        yield made


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_serves_and_the_second_up_is_empty(make: Callable[[Case], There], case: Case) -> None:
    box = make(case)
    box.up()
    assert box.ask(case.model).status_code == 200
    service = f"{case.model}-main-0"
    started = next(line for line in box.logs(service).splitlines() if "berth: starting: " in line)
    assert case.command in started
    box.up("--expect-no-changes")
    box.destroyed()
