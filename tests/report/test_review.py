"""A stack planned with machines as they were recorded, each with the age of its record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from berth.facts import HostFacts
from berth.planner.plan import Severity
from berth.review import against, review

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests/facts/recorded/rtx5090-ubuntu2404.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one stack."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/box.yaml").write_text((ROOT / "stacks/rtx5090.yaml").read_text())
    return tmp_path


def record(project: Path, days: float, used: int = 0) -> None:
    facts = HostFacts.model_validate_json(RECORDED.read_text())
    gpus = tuple(gpu.model_copy(update={"used": used}) for gpu in facts.gpus)
    gathered = datetime.now(UTC) - timedelta(days=days)
    path = project / "stacks/facts/box/box.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(facts.model_copy(update={"gathered": gathered, "gpus": gpus}).model_dump_json())


@pytest.mark.parametrize(
    ("days", "severity", "age"), [(3, Severity.NOTE, "3 days ago"), (40, Severity.WARNING, "40 days ago")]
)
def test_the_age_of_a_record_is_said(project: Path, days: float, severity: Severity, age: str) -> None:
    record(project, days)
    plan = review(project / "stacks/box.yaml").plan
    assert plan is not None
    (note,) = [note for note in plan.notes if "recorded" in note.text]
    assert (note.severity, note.where, age in note.text) == (severity, "hosts.box", True)
    assert ("record it again" in note.text) == (severity is Severity.WARNING)


def test_what_the_stack_itself_may_have_held_then_is_not_counted(project: Path) -> None:
    record(project, 1, used=30 * 2**30)
    plan = review(project / "stacks/box.yaml").plan
    assert plan is not None
    assert plan.cards[0].uses[0][0] == "tinyllama-main-0"
    assert len(plan.cards[0].uses) == 3


def test_a_record_that_is_none_is_said(project: Path) -> None:
    record(project, 1)
    (project / "stacks/facts/box/box.json").write_text("{}")
    plan = review(project / "stacks/box.yaml").plan
    assert plan is not None
    assert any("is not the facts of a host" in note.text for note in plan.notes)


def test_a_stack_is_compared_with_what_it_was(project: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    now = review(project / "stacks/box.yaml")
    assert against(now, before).before is None
    (before / "box.yaml").write_text((project / "stacks/box.yaml").read_text())
    found = against(now, before)
    assert (found.compared, found.before) == (True, now.plan)
