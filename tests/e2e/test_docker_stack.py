"""The stack of the RTX 5090 on a machine with a recorded card, over SSH: from up to destroy, broken and killed between.

What is not as committed `gpu_box` says.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from gpu_box import USER, Images, There, bring, committed
from project import Project, until
from traffic import Traffic

from berth.monitoring import dashboards
from tests.gateway.conftest import envoy
from tests.machines.engine import Engine
from tests.machines.fixtures import machine_engine
from tests.monitoring.conftest import prometheus
from tests.monitoring.graphs import draw
from tests.monitoring.stacks import planned
from tests.provider.operations.gpu_machine import GpuMachine, gpu_machine

__all__ = ["envoy", "gpu_machine", "machine_engine", "prometheus"]

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd, pytest.mark.timeout(1200)]

NAMES = ("tinyllama", "qwen", "yi")
ENGINES = tuple(f"{name}-main-0" for name in NAMES)
JOBS = dict.fromkeys(("engines", "gateway", "watcher", "gpu"), 1)
BESIDE = ("gateway", "gateway-watcher", "monitoring-gpu", "monitoring-prometheus")


@pytest.fixture
def box(
    project: Project, gpu_machine: GpuMachine, machine_engine: Engine, envoy: str, prometheus: str
) -> Iterator[There]:
    made = committed("rtx5090", project, gpu_machine)
    images = Images.of_tests(machine_engine, envoy, prometheus)
    bring(gpu_machine, machine_engine, *images)
    made.use(images)
    made.init()
    try:
        yield made
    finally:
        made.remove_all()


def test_three_models_on_one_card(box: There, tmp_path: Path) -> None:
    output = box.up()
    assert set(box.containers()) == {*(f"{name}-main-0" for name in NAMES), *BESIDE}, output
    for name, port in zip(NAMES, (8001, 8002, 8003), strict=True):
        assert box.ask(name).status_code == 200
        assert box.ask(name, f"/{name}").status_code == 200
        assert box.there.out('curl -s -o /dev/null -w "%{http_code}" "http://127.0.0.1:$1/health"', str(port)) == "200"
        asked = box.inspect(f"{name}-main-0", "{{json .HostConfig.DeviceRequests}}")
        assert json.loads(asked)[0]["DeviceIDs"] == ["nvidia.com/gpu=0"]
    listed = requests.get(f"{box.door}/v1/models", headers=box.headers, timeout=5)
    assert {model["id"] for model in listed.json()["data"]} == set(NAMES)
    assert requests.get(f"{box.door}/health", timeout=5).status_code == 200
    assert box.profiled(ENGINES) == 3
    box.up("--expect-no-changes")
    _everything_is_measured(box)
    _one_argument_replaces_one_engine(box)
    _the_graphs_are_drawn(box, tmp_path / "graphs.svg")
    _hands_are_seen_and_mended(box)
    _docker_is_restarted(box)
    box.destroyed()
    assert box.there.out('ls "/home/$1/.local/share/berth/rtx5090" 2> /dev/null || :', USER) == ""


def _everything_is_measured(box: There) -> None:
    def ask(question: str) -> dict[str, float]:
        return {_about(one["metric"]): float(one["value"][1]) for one in _prometheus(box, "query", f"query={question}")}

    until(lambda: ask("min by (job) (up)") == JOBS, "a first look at everything", 30)
    assert set(ask("vllm:num_requests_running")) == set(NAMES)
    assert ask("DCGM_FI_DEV_FB_USED") == {"gpu": 31500}
    boards = dashboards(planned(box.name), gpu=True).values()
    graphs = {target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]}
    blank = set(graphs)
    until(lambda: not blank.difference_update({graph for graph in blank if ask(graph)}) and not blank, f"{blank}", 60)


def _prometheus(box: There, what: str, *asked: str) -> list[Any]:
    """What the stack's Prometheus answers."""
    script = 'url=$1; shift; for one in "$@"; do set -- "$@" --data-urlencode "$one"; shift; done; curl -sG "$url" "$@"'
    said = box.there.out(script, f"http://127.0.0.1:9090/api/v1/{what}", *asked)
    found: list[Any] = json.loads(said)["data"]["result"]
    return found


def _about(labels: dict[str, str]) -> str:
    """What a number is of."""
    return next((labels[name] for name in ("model", "job") if name in labels), str(labels))


def _one_argument_replaces_one_engine(box: There) -> None:
    before = box.containers()
    box.content["models"]["qwen"]["context"] = 1024
    box.write()
    url = f"{box.door}/v1"
    with Traffic(url, box.key, "tinyllama", rate=5) as one, Traffic(url, box.key, "yi", rate=5) as two:
        box.up()
    assert one.failed == two.failed == []
    after = box.containers()
    assert {service for service in after if after[service] != before[service]} == {"qwen-main-0"}


def _the_graphs_are_drawn(box: There, file: Path) -> None:
    """Over the minutes of this test; docs/images/graphs.svg is such a file."""
    now = time.time()

    def ask(question: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        over = (f"query={question}", f"start={now - 180:.0f}", f"end={now:.0f}", "step=3")
        found = _prometheus(box, "query_range", *over)
        return [(one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in found]

    boards = dashboards(planned(box.name), gpu=True)
    file.write_text(draw(boards, ask))
    drawn = file.read_text().split("<g transform")[1:]
    assert len(drawn) == sum(len(board["panels"]) for board in boards.values())
    assert all("<polyline" in panel for panel in drawn)


def _hands_are_seen_and_mended(box: There) -> None:
    """One was removed, and one replaced by a container of the same name; the next up converges."""
    removed, replaced = box.container("yi-main-0"), box.container("tinyllama-main-0")
    box.docker("rm", "--force", removed)
    box.docker("rm", "--force", replaced)
    image = box.content["models"]["qwen"]["engine"]["image"]
    box.docker("run", "--detach", "--name", replaced, image, "serve", "mine")
    shown = box.project.pulumi(box.name, "preview", "--diff").ok().output
    assert shown.count('=> "running"') >= 2, shown
    box.up()
    assert all(box.ask(name).status_code == 200 for name in NAMES)


def _docker_is_restarted(box: There) -> None:
    """This Docker, 26.1, starts the gateway again and leaves down what has CDI devices (moby#49989): `up` brings it."""
    box.there.out("systemctl restart docker")
    until(lambda: box.status() == 401, "the gateway's return", 60)
    shown = box.project.pulumi(box.name, "preview", "--diff").ok().output
    assert shown.count('=> "running"') >= len(NAMES), shown
    assert "engines stay down after a reboot" in shown, shown
    box.up()
    assert box.profiled(ENGINES) >= len(NAMES)
    assert all(box.ask(name).status_code == 200 for name in NAMES)
    box.project.unchanged(box.name).ok()


def test_an_up_that_is_killed_amid_the_starts_converges_at_the_next(box: There) -> None:
    with box.project.start(box.name, "up", "--yes", "--skip-preview") as process:
        until(lambda: any(name.endswith("-main-0") for name in box.containers()), "a first container", 240)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    until(lambda: not box.provider_runs(), "the end of the provider", 60)
    box.project.pulumi(box.name, "cancel", "--yes").ok()
    box.up()
    assert all(box.ask(name).status_code == 200 for name in NAMES)
    assert len(box.containers()) == len(NAMES) + len(BESIDE)
    box.destroyed()
