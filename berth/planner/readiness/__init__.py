"""Whether a machine has what its part of the plan needs: one check for each thing.

A preview refuses what fails and nothing declares; `berth doctor` prints all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from berth.planner.notes import refusal, warning
from berth.planner.plan import Note
from berth.planner.readiness.check import Check, Part, State, Subject
from berth.planner.readiness.containers import docker_checks, toolkit_checks
from berth.planner.readiness.driver import driver_checks
from berth.planner.readiness.system import system_checks

__all__ = ["Check", "Part", "State", "Subject", "missing", "readiness"]

_SAID_ELSEWHERE = {"gpus", "root", "packages", "reboot"}
"""What a plan says in other words already, or what its changes show by themselves."""


def readiness(subject: Subject) -> Iterator[Check]:
    """All checks of one host, in the order in which they are read."""
    yield from system_checks(subject)
    yield from driver_checks(subject)
    yield from docker_checks(subject)
    yield from toolkit_checks(subject)


def missing(subject: Subject) -> Iterator[Note]:
    """What the machine lacks and nothing declares: a refusal for each, all in one preview."""
    where = f"hosts.{subject.host.name}"
    for check in readiness(subject):
        if check.part in subject.host.declares or check.about in _SAID_ELSEWHERE:
            continue
        if check.part == "fabric_manager" and "driver" in subject.host.declares:
            continue
        if check.state is State.FAIL:
            yield refusal(where, str(check))
        elif check.state is State.WARN:
            yield warning(where, str(check))
