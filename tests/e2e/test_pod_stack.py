"""The stack of the two-A40 pod over SSH: up, unchanged, reset, up again; and restarted, when the pod's start is enough.

Its engine is the real one on the CPU; where several run, a light process stands in for them.
"""

from __future__ import annotations

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

pytestmark = [pytest.mark.pulumi, pytest.mark.docker]


@pytest.fixture
def pod(machine_engine: Engine) -> Iterator[Pod]:
    with rented(machine_engine) as made:
        yield made


@pytest.mark.engine
def test_what_a_reset_takes_one_up_brings_back(project: Project, pod: Pod) -> None:
    project.write("a40x2-tp2", stack(pod, "a40x2-tp2"))
    project.init("a40x2-tp2")
    project.up("a40x2-tp2").ok()
    outputs = project.outputs("a40x2-tp2")
    assert outputs["url"].startswith("https://")
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


def outside(pod: Pod) -> set[str]:
    """Files that the stack left outside the volume, but for what every start makes anew."""
    changed = pod.engine.out("diff", pod.machine.machine.name).splitlines()
    of_the_test = ("/etc", "/run", "/start.sh", VOLUME)
    made = {line[2:] for line in changed if line[0] == "A" and "/.ssh" not in line}
    return {path for path in made if not path.startswith((*of_the_test, "/tmp"))}


def environments(pod: Pod) -> dict[str, float]:
    """When each environment was made."""
    return {str(path): path.stat().st_mtime for path in pod.volume.glob("berth/*/environments/*/pyvenv.cfg")}


def test_a_restarted_pod_comes_back_by_its_start_command_alone(project: Project, pod: Pod) -> None:
    """Two replicas, as in the variant of the pod with one on each card; a light process stands in for each engine."""
    environment = f"{VOLUME}/light"
    install(pod.volume / "light", python="/usr/bin/python3")
    content = stack(pod, "a40x2-replicas", environment={"path": environment})
    project.write("a40x2-replicas", content)
    project.init("a40x2-replicas")
    project.up("a40x2-replicas").ok()
    outputs = project.outputs("a40x2-replicas")
    hook = outputs["start"]["pod"]
    assert hook == f"{VOLUME}/berth/a40x2-replicas/supervisor/start"

    pod.restart(hook)
    assert pod.out("cat /run/hook") == "0"
    until(lambda: answered(pod, outputs), "an answer")
    project.unchanged("a40x2-replicas").ok()
    assert pod.out(f"{hook} && {hook} && pgrep -xc supervisord") == "1", "what runs is not started again"

    pod.reset(hook)  # the start command belongs to the pod's template, so that it outlives a reset too
    until(lambda: answered(pod, outputs), "an answer")
    project.write("a40x2-replicas", content | {"hosts": stack(pod, "a40x2-replicas")["hosts"]})
    project.unchanged("a40x2-replicas").ok()
    project.destroy("a40x2-replicas").ok()


def answered(pod: Pod, outputs: dict[str, Any]) -> bool:
    try:
        return ask(pod, outputs).ok
    except requests.ConnectionError:
        return False
