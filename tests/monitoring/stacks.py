"""Plans of the stack files for the tests of monitoring."""

from __future__ import annotations

from pathlib import Path

from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import load

STACKS = Path(__file__).parents[2] / "stacks"


def planned(name: str) -> Plan:
    """The plan of a stack file, without any facts."""
    return plan(load(STACKS / f"{name}.yaml"), name)
