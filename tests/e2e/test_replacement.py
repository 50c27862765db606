"""Engines of a stack replaced under load, on a card whose memory they share: by surge, by hold, badly, and killed amid.

The stand-in engine takes its memory of a ledger while it loads, fails where too little is left, and gives back what it
has when its process ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from light import stack
from project import PASSPHRASE, ROOT, Done, Project, until
from standin import install
from traffic import Traffic

from berth.gateway.endpoints import EndpointState, read_endpoints, state

pytestmark = pytest.mark.pulumi

CARD_MIB, ENGINE_MIB = 1000, 450
_NO_MEMORY = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."
START_S = 2
RATE = 20


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light engine's folder."""
    return install(tmp_path_factory.mktemp("engine"))


@dataclass
class Served:
    """A stack with one model that is up, and what it becomes."""

    project: Project
    environment: Path
    port: int
    context: int = 512

    def write(self, way: str, *, mib: int = ENGINE_MIB, **settings: object) -> None:
        """Another context than before, which is another engine."""
        self.context -= 1
        card = {"card": self.card, "card_mib": CARD_MIB, "memory_mib": mib, "start_s": START_S, **settings}
        told = {f"STANDIN_{key.upper()}": str(value) for key, value in card.items()}
        # Four times as many may wait at the gateway: those of a hold of 50 s, on a machine that has other work as well.
        model = {"context": self.context, "concurrency": 256, "on_change": way, "environment": told}
        self.project.write("light", stack(self.port, self.environment, first=model))

    @property
    def card(self) -> Path:
        return self.project.root / "card"

    @property
    def peak(self) -> int:
        """The most that was ever taken of the card, in MiB; from now on counted anew."""
        peak = self.card / "peak"
        most = int(peak.read_text())
        peak.unlink()
        return most

    def traffic(self) -> Traffic:
        outputs = self.project.outputs("light")
        return Traffic(outputs["url"], outputs["keys"]["default"], "first", rate=RATE, streams=True)

    def endpoints(self) -> dict[str, Any]:
        path = self.project.workspace("light") / "gateway/endpoints/first@main.json"
        return dict(json.loads(path.read_text()))

    def has(self, service: str, file: str = "run") -> bool:
        return (self.project.workspace("light") / "services" / service / file).exists()

    def alone(self) -> bool:
        """One engine is there and has all requests."""
        file = self.endpoints()
        return state(file) is EndpointState.SERVING and len(read_endpoints(file)[0]) == 1 and not self.has(SPARE)


SPARE = "first-main-0-spare"


@pytest.fixture
def served(project: Project, environment: Path, ports: Callable[[], int]) -> Iterator[Served]:
    """The stack, up; taken down afterwards."""
    made = Served(project, environment, ports())
    made.write("auto")
    project.init("light")
    project.up("light").ok()
    yield made
    project.destroy("light").ok()
    assert project.processes() == {}


def test_a_surge_and_a_hold_fail_no_request_and_a_bad_engine_leaves_the_old_one(
    served: Served, record_property: Callable[[str, object], None]
) -> None:
    project = served.project
    assert served.peak == ENGINE_MIB
    with served.traffic() as surge:
        served.write("surge")
        shown = project.pulumi("light", "preview").ok().output
        assert "first-main-0: surge (it runs on no card whose memory could be counted): the new engine answers" in shown
        project.up("light").ok()
    assert (surge.failed, served.peak) == ([], 2 * ENGINE_MIB)
    with served.traffic() as hold:
        served.write("hold")
        shown = project.pulumi("light", "preview").ok().output
        assert "first-main-0: hold (the stack file says so): requests wait at the gateway, 120 s at most" in shown
        project.up("light").ok()
    assert (hold.failed, served.peak) == ([], ENGINE_MIB)
    project.unchanged("light").ok()
    with served.traffic() as back:
        for way, wrong, said in (
            ("surge", {"broken": 1}, "first-main-0-spare started and failed its smoke test: POST /v1/completions"),
            ("hold", {"fail": _NO_MEMORY}, "first-main-0 did not start"),
        ):
            served.write(way, **wrong)
            done = project.up("light")
            assert done.status != 0
            assert said in done.output
            assert wrong.get("fail", "the old engine was not touched and serves on") in done.output
            assert "Traceback" not in done.output
            assert served.alone()
    assert back.failed == []
    assert served.peak <= CARD_MIB
    for name, traffic in {"surge": surge, "hold": hold, "back": back}.items():
        record_property(f"{name}_requests", len(traffic.asked))
        record_property(f"{name}_longest_s", round(traffic.longest_s, 2))


Moment = Callable[[Served], bool]

SURGES: Mapping[str, Moment] = {
    "the second engine starts": lambda one: one.has(SPARE),
    "the second engine is ready": lambda one: one.has(SPARE, "state/ready"),
    "both serve": lambda one: len(read_endpoints(one.endpoints())[0]) == 2,
    "the second one serves": lambda one: one.has(SPARE, "state/ready") and _first_is_out(one),
    "the first one starts anew": lambda one: _first_is_out(one) and not one.has("first-main-0", "state/ready"),
    "the first one is ready": lambda one: (
        one.has(SPARE, "state/ready") and str(one.context) in _run(one) and one.has("first-main-0", "state/ready")
    ),
}
HOLDS: Mapping[str, Moment] = {
    "requests wait": lambda one: state(one.endpoints()) is EndpointState.HELD,
    "the old engine is gone": lambda one: not one.has("first-main-0", "state/ready"),
    "the new one starts": lambda one: str(one.context) in _run(one),
    "the new one is ready": lambda one: str(one.context) in _run(one) and one.has("first-main-0", "state/ready"),
    "requests go on": lambda one: state(one.endpoints()) is EndpointState.RELEASING,
}
FEW = ("the second engine starts", "the first one starts anew", "the old engine is gone")


def _run(one: Served) -> str:
    return (one.project.workspace("light") / "services/first-main-0/run").read_text()


def _first_is_out(one: Served) -> bool:
    addresses, _ = read_endpoints(one.endpoints())
    return len(addresses) == 1 and f"--port {addresses[0][1]} " not in _run(one)


@pytest.mark.parametrize("moments", [FEW, pytest.param((*SURGES, *HOLDS), marks=pytest.mark.soak)], ids=["few", "all"])
def test_an_up_that_is_killed_amid_a_replacement_is_finished_by_the_next_and_no_request_fails(
    served: Served, moments: tuple[str, ...]
) -> None:
    with served.traffic() as traffic:
        for moment in moments:
            way, reached = ("surge", SURGES[moment]) if moment in SURGES else ("hold", HOLDS[moment])
            served.write(way)
            _killed(served, moment, reached)
            _up(served.project).ok()
            assert served.alone(), moment
            assert str(served.context) in _run(served), moment
    assert traffic.failed == []
    assert served.peak <= CARD_MIB
    served.project.unchanged("light").ok()


def _killed(served: Served, moment: str, reached: Moment) -> None:
    """Starts an update and kills all of it as soon as it has come so far; some moments may pass unseen."""
    with _berth(served.project, stdout=subprocess.DEVNULL) as process:
        until(lambda: reached(served) or process.poll() is not None, moment, 120)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not any("berth.provider.serve" in line for line in served.project.processes().values()), "its end")


def _up(project: Project) -> Done:
    with _berth(project, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate(timeout=300)
    return Done(process.returncode, output)


def _berth(project: Project, stdout: int) -> subprocess.Popen[str]:
    """`berth up`, which clears what a killed one has left of Pulumi's own."""
    return subprocess.Popen(
        [str(ROOT / ".venv/bin/python"), "-m", "berth.cli", "up", "light"],
        cwd=project.root,
        env={**os.environ, "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE},
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
