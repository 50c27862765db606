"""A stack of all engines in containers whose parts freeze, are busy, and are killed: what clients notice of it.

The stand-ins speak as vLLM, TGI and SGLang do: their start commands, of which they refuse every flag that the pinned
release does not have, and the names of their numbers, by which the watcher tells busy from frozen.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests
from docker_box import Here, here, stack
from outage import noticed
from project import Project, until
from traffic import Traffic

from berth.engines.random_model import files
from tests.gateway.conftest import envoy
from tests.machines.docker_fixtures import docker
from tests.machines.engine import Engine
from tests.machines.engine_image import engine_image, envoy_image

__all__ = ["docker", "envoy"]

pytestmark = [pytest.mark.pulumi, pytest.mark.docker]

MODELS = ("frozen", "busy", "other")
FREEZE_S = 15
_FILE = "/opt/engine/frozen"


@pytest.fixture
def box(project: Project, docker: Engine, envoy: str, ports: Callable[[], int]) -> Iterator[Here]:
    content = stack(engine_image(docker, release="0.32.0"), envoy_image(docker, envoy), ports(), *MODELS)
    for model, name, release in (("busy", "tgi", "3.3.7"), ("other", "sglang", "0.5.9")):
        image = engine_image(docker, name=name, release=release)
        content["models"][model]["engine"] = {"name": name, "version": release, "image": image, "device": "cpu"}
    busy = content["models"]["busy"]
    busy["environment"] = {"STANDIN_SLOTS": "1", "STANDIN_TOKEN_S": "0.05"}
    busy["source"] = {"path": str(project.root / "model")}  # TGI makes no weights up
    (project.root / "model").mkdir()
    for file, text in files("tiny").items():
        (project.root / "model" / file).write_text(text)
    with here(project, content, "faults", docker) as made:
        yield made


def test_what_freezes_leaves_the_rotation_and_what_is_killed_returns(box: Here) -> None:
    box.up()
    with Traffic(f"{box.door}/v1", box.key, "other", rate=5) as other, ThreadPoolExecutor(30) as queue:
        waiting = [queue.submit(box.ask, "busy", max_tokens=20) for _ in range(30)]  # 30 s of work
        _freezes_and_returns(box)
        assert sum(one.done() for one in waiting) < len(waiting)  # it was busy all along
        assert [one.result().status_code for one in waiting] == [200] * len(waiting)
    assert other.failed == []
    assert box.logs("gateway-watcher").count(" is frozen") == 1
    _each_is_killed(box)
    assert box.profiled([f"{model}-main-0" for model in MODELS]) == 2 * len(MODELS)
    box.up("--expect-no-changes")
    box.destroyed()


def _models(box: Here) -> dict[str, str]:
    return dict(requests.get(f"{box.door}/health", timeout=5).json()["models"])


def _freezes_and_returns(box: Here) -> None:
    until(lambda: set(_models(box).values()) == {"up"}, "all three")
    engine = box.container("frozen-main-0")
    begin = time.monotonic()
    box.docker("exec", engine, "touch", _FILE)
    while (seen := _models(box)) != {"frozen": "frozen", "busy": "up", "other": "up"}:
        assert set(seen.values()) == {"up"}
        assert time.monotonic() - begin < FREEZE_S
        time.sleep(0.2)  # between two questions
    begin = time.monotonic()
    answer = box.ask("frozen")
    assert time.monotonic() - begin < 1
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert box.inspect("frozen-main-0", "{{.State.Running}} {{.RestartCount}}") == "true 0"
    box.docker("exec", engine, "rm", _FILE)
    until(lambda: _models(box)["frozen"] == "up" and box.ask("frozen").status_code == 200, "its return by itself", 30)


def _each_is_killed(box: Here) -> None:
    for service in (*(f"{model}-main-0" for model in MODELS), "gateway", "gateway-watcher"):
        pid = int(box.inspect(service, "{{.State.Pid}}"))

        def back(service: str = service, pid: int = pid) -> bool:
            return box.inspect(service, "{{.State.Pid}} {{.State.Running}}") not in {f"{pid} true", "0 true"}

        seen = noticed(box, MODELS, partial(os.kill, pid, signal.SIGKILL), back)
        hit = service.removesuffix("-main-0")
        for model, what in seen.items():
            said = f"{service} was killed; {model}: {what}"
            assert what.last < 15 if service == "gateway" or model == hit else what.failed == 0, said
