"""Engines of a stack replaced under load, on a card whose memory they share: by surge, by hold, badly, and killed amid.

The stand-in engine takes its memory of a ledger while it loads, fails where too little is left, and gives back what it
has when its process ends.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
from place import NAME, PROCESSES, Place, docker, environment, envoy, place
from project import PASSPHRASE, ROOT, Done, Project, until

from berth.gateway.endpoints import EndpointState

__all__ = ["docker", "environment", "envoy", "place"]

pytestmark = pytest.mark.pulumi

CARD_MIB, ENGINE_MIB = 1000, 450
_NO_MEMORY = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."
START_S = 2
FIRST, SPARE = "first-main-0", "first-main-0-spare"


@dataclass
class Served:
    """A stack with one model that is up, and what it becomes; `own` is the port of its engine."""

    place: Place
    context: int = 512
    own: int = 0

    @property
    def project(self) -> Project:
        return self.place.project

    def write(self, way: str, *, mib: int = ENGINE_MIB, **settings: object) -> None:
        """Another context than before, which is another engine."""
        self.context -= 1
        card = {"card": self.place.card, "card_mib": CARD_MIB, "memory_mib": mib, "start_s": START_S, **settings}
        told = {f"STANDIN_{key.upper()}": str(value) for key, value in card.items()}
        # Four times as many may wait at the gateway: as many as come until the hold's limit of 120 s.
        self.place.write(context=self.context, concurrency=600, on_change=way, environment=told)

    @property
    def peak(self) -> int:
        """The most that was ever taken of the card, in MiB; from now on counted anew."""
        peak = self.place.card / "peak"
        most = int(peak.read_text())
        peak.unlink()
        return most

    def has(self, service: str, file: str = "run") -> bool:
        return self.place.file(service, file).exists()

    def redefined(self) -> bool:
        """Whether the engine's own place has what the stack file says now."""
        said = re.search(r"--max-model-len (\d+)", self.place.file(FIRST).read_text())
        return said is not None and int(said[1]) == self.context

    def alone(self) -> bool:
        """One engine is there and has all requests."""
        return self.place.endpoints() == (EndpointState.SERVING, (self.own,)) and not self.has(SPARE)


@pytest.fixture
def served(place: Place) -> Iterator[Served]:
    """The stack, up; taken down afterwards."""
    made = Served(place)
    made.write("auto")
    place.up()
    (made.own,) = place.endpoints()[1]
    assert made.redefined()
    yield made
    place.destroyed()


def test_a_surge_and_a_hold_fail_no_request_and_a_bad_engine_leaves_the_old_one(
    served: Served, record_property: Callable[[str, object], None]
) -> None:
    place, project = served.place, served.project
    assert served.peak == ENGINE_MIB
    with place.traffic() as surge:
        served.write("surge")
        shown = project.pulumi(NAME, "preview").ok().output
        assert "first-main-0: surge (it runs on no card whose memory could be counted): the new engine answers" in shown
        place.up()
    assert (surge.failed, served.peak) == ([], 2 * ENGINE_MIB)
    with place.traffic() as hold:
        served.write("hold")
        shown = project.pulumi(NAME, "preview").ok().output
        assert "first-main-0: hold (the stack file says so): requests wait at the gateway, 120 s at most" in shown
        place.up()
    assert (hold.failed, served.peak) == ([], ENGINE_MIB)
    place.unchanged()
    with place.traffic() as back:
        for way, wrong, said in (
            ("surge", {"broken": 1}, "first-main-0-spare started and failed its smoke test: POST /v1/completions"),
            ("hold", {"fail": _NO_MEMORY}, "first-main-0 did not start"),
        ):
            served.write(way, **wrong)
            done = place.tried()
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
    "both serve": lambda one: len(one.place.endpoints()[1]) == 2,
    "the second one serves": lambda one: one.has(SPARE, "state/ready") and _first_is_out(one),
    "the first one starts anew": lambda one: _first_is_out(one) and not one.has(FIRST, "state/ready"),
    "the first one is ready": lambda one: (
        one.has(SPARE, "state/ready") and one.redefined() and one.has(FIRST, "state/ready")
    ),
}
HOLDS: Mapping[str, Moment] = {
    "requests wait": lambda one: one.place.endpoints()[0] is EndpointState.HELD,
    "the old engine is gone": lambda one: not one.has(FIRST, "state/ready"),
    "the new one starts": lambda one: one.redefined(),
    "the new one is ready": lambda one: one.redefined() and one.has(FIRST, "state/ready"),
    "requests go on": lambda one: one.place.endpoints()[0] is EndpointState.RELEASING,
}
FEW = ("the second engine starts", "the first one starts anew", "the old engine is gone")
ALL = (*SURGES, *HOLDS)
LONG = (pytest.mark.soak, pytest.mark.timeout(2400))  # 22 updates in one test


def _first_is_out(one: Served) -> bool:
    ports = one.place.endpoints()[1]
    return len(ports) == 1 and ports != (one.own,)


@pytest.mark.parametrize(
    ("place", "moments"),
    [
        pytest.param(PROCESSES, FEW, id="few"),
        pytest.param(PROCESSES, ALL, id="all", marks=LONG),
        pytest.param("containers", ALL, id="all in containers", marks=[pytest.mark.docker, *LONG]),
    ],
    indirect=["place"],
)
def test_an_up_that_is_killed_amid_a_replacement_is_finished_by_the_next_and_no_request_fails(
    served: Served, moments: tuple[str, ...], record_property: Callable[[str, object], None]
) -> None:
    unseen = []
    with served.place.traffic() as traffic:
        for moment in moments:
            way, reached = ("surge", SURGES[moment]) if moment in SURGES else ("hold", HOLDS[moment])
            served.write(way)
            if not _killed(served, moment, reached):
                unseen.append(moment)
            _up(served.project).ok()
            assert served.alone(), moment
            assert served.redefined(), moment
    assert traffic.failed == []
    assert served.peak <= CARD_MIB
    assert len(unseen) <= len(moments) / 3, f"no update was killed at {unseen}"
    record_property("requests", len(traffic.asked))
    record_property("longest_s", round(traffic.longest_s, 2))
    record_property("unseen", unseen)
    served.place.unchanged()


def _killed(served: Served, moment: str, reached: Moment) -> bool:
    """Starts an update and kills all of it as soon as it has come so far; false where that moment passed unseen."""
    with _berth(served.project, stdout=subprocess.DEVNULL) as process:
        until(lambda: reached(served) or process.poll() is not None, moment, 120)
        running = process.poll() is None
        if running:
            os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not any("berth.provider.serve" in line for line in served.project.processes().values()), "its end")
    return running


def _up(project: Project) -> Done:
    with _berth(project, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate(timeout=300)
    return Done(process.returncode, output)


def _berth(project: Project, stdout: int) -> subprocess.Popen[str]:
    """`berth up`, which clears what a killed one has left of Pulumi's own."""
    return subprocess.Popen(
        [str(ROOT / ".venv/bin/python"), "-m", "berth.cli", "up", NAME],
        cwd=project.root,
        env={**os.environ, "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE},
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
