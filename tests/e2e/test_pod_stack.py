"""The stacks of the two-A40 pod over SSH: up, unchanged, reset, up again; and restarted, when its start is enough.

Its engine is the real one on the CPU; where several run, a light process stands in for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pod import VOLUME, Pod, ask, rented, stack
from project import Project, until
from standin import install

from tests.machines.engine import Engine
from tests.machines.fixtures import machine_engine

__all__ = ["machine_engine"]

pytestmark = [pytest.mark.pulumi, pytest.mark.docker, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def pod(machine_engine: Engine) -> Iterator[Pod]:
    """One for all tests of this file: its volume takes long to fill and to empty."""
    with rented(machine_engine) as made:
        yield made


@pytest.mark.engine
def test_what_a_reset_takes_one_up_brings_back(project: Project, pod: Pod) -> None:
    project.write("a40x2-tp2", stack(pod, "a40x2-tp2"))
    project.init("a40x2-tp2")
    project.up("a40x2-tp2").ok()
    outputs = project.outputs("a40x2-tp2")
    assert outputs["url"] == "https://podid-8000.proxy.runpod.net/v1"
    assert ask(pod, outputs).ok
    assert outside(pod) == set()
    project.unchanged("a40x2-tp2").ok()
    before = environments(pod)

    pod.reset()
    with pytest.raises(requests.ConnectionError):
        ask(pod, outputs)
    project.write("a40x2-tp2", stack(pod, "a40x2-tp2"))  # another container shows another host key
    project.up("a40x2-tp2").ok()
    assert ask(pod, outputs).ok
    assert environments(pod) == before, "nothing is installed again"
    project.unchanged("a40x2-tp2").ok()
    project.destroy("a40x2-tp2").ok()


def test_a_restarted_pod_comes_back_by_its_start_command_alone(project: Project, pod: Pod) -> None:
    """Two replicas, as in the variant of the pod with one on each card; a light process stands in for each engine."""
    install(pod.volume / "light", python="/usr/bin/python3")
    content = stack(pod, "a40x2-replicas", environment={"path": f"{VOLUME}/light"})
    project.write("a40x2-replicas", content)
    project.init("a40x2-replicas")
    project.up("a40x2-replicas").ok()
    outputs = project.outputs("a40x2-replicas")
    hook = outputs["start"]["pod"]
    assert hook == f"{VOLUME}/berth/a40x2-replicas/supervisor/start"

    pod.restart(hook)
    assert pod.out("cat /run/hook") == "0"
    until(lambda: answered(pod, outputs), "an answer", 180)
    project.unchanged("a40x2-replicas").ok()
    assert pod.out(f"{hook} && {hook} && pgrep -xc supervisord") == "1", "what runs is not started again"
    project.destroy("a40x2-replicas").ok()


@pytest.mark.engine
@pytest.mark.soak
def test_two_engines_come_back_from_a_reset_by_the_start_command_and_nothing_is_left_to_do(
    project: Project, pod: Pod
) -> None:
    """The start command is of the pod's template, so that it outlives a reset; engines start one after the other."""
    content = stack(pod, "a40x2-replicas")
    project.write("a40x2-replicas", content)
    project.init("a40x2-replicas")
    project.up("a40x2-replicas").ok()
    outputs = project.outputs("a40x2-replicas")
    begin = time.time()
    pod.reset(outputs["start"]["pod"])
    until(lambda: len(started(pod, begin)) == 2, "both engines", 600)
    first, second = sorted(started(pod, begin))
    assert second - first > 5, "both started at once"
    assert ask(pod, outputs).ok
    project.write("a40x2-replicas", content | {"hosts": stack(pod, "a40x2-replicas")["hosts"]})
    project.unchanged("a40x2-replicas").ok()
    project.destroy("a40x2-replicas").ok()


def outside(pod: Pod) -> set[str]:
    """Files that the stack left outside the volume, but for what every start makes anew."""
    changed = pod.engine.out("diff", pod.machine.machine.name).splitlines()
    of_the_test = ("/etc", "/run", "/start.sh", VOLUME)
    made = {line[2:] for line in changed if line[0] == "A" and "/.ssh" not in line}
    return {path for path in made if not path.startswith((*of_the_test, "/tmp"))}


def environments(pod: Pod) -> dict[str, float]:
    """When each environment was made."""
    return {str(path): path.stat().st_mtime for path in pod.volume.glob("berth/*/environments/*/pyvenv.cfg")}


def started(pod: Pod, since: float) -> list[float]:
    """When each engine became ready after a moment, as seconds since 1970."""
    found = pod.volume.glob("berth/a40x2-replicas/services/llama-*/state/ready")
    return [at for at in (path.stat().st_mtime for path in found) if at > since]


def answered(pod: Pod, outputs: dict[str, Any]) -> bool:
    try:
        return ask(pod, outputs).ok
    except requests.ConnectionError:
        return False
