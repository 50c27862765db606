"""A diagnosis as lines for people: a group for each host, a line for each check, and one for the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from berth.doctor.diagnosis import Diagnosis
from berth.planner.readiness import Check, State


def lines(found: Diagnosis) -> Iterator[tuple[State | None, str]]:
    """Each line with the state that colours it; None for headings."""
    for host in found.hosts:
        yield None, f"{host.name}"
        yield from _group(host.checks)
    yield None, "plan"
    yield from _group(found.plan)
    counted = Counter(check.state for check in found.checks)
    worst = next((state for state in (State.FAIL, State.UNKNOWN, State.WARN) if counted[state]), State.OK)
    yield worst, f"{found.stack}: " + ", ".join(f"{counted[state]} {state}" for state in State if counted[state])


def _group(checks: Sequence[Check]) -> Iterator[tuple[State | None, str]]:
    width = min(max((len(check.about) for check in checks), default=0), 20)
    for check in checks:
        yield check.state, f"  {check.state:<7}  {check.about:<{width}}  {check}"
