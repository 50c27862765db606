"""Recorded facts of machines that are not here, by name; each file says in `origin` where its values come from.

Import what is needed in a `conftest.py` or a test: `from tests.facts.fixtures import recorded`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from berth.facts import HostFacts

FOLDER = Path(__file__).with_name("recorded")
MACHINES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
"""Their names, for parametrized tests."""


@cache
def recorded(machine: str) -> HostFacts:
    """The facts of one machine, such as `rtx5090-ubuntu2404`; frozen, so that `model_copy(update=…)` changes them."""
    return HostFacts.model_validate_json((FOLDER / f"{machine}.json").read_text())
