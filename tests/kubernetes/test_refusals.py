"""What stack files on clusters must and must not say, in one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.planner.planning import plan
from berth.spec import SpecError, load

HERE = Path(__file__).parent


def changed(said: Any, path: str, value: Any) -> Any:
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("/"))
    part = said
    for key in parents:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return said


@pytest.mark.parametrize(
    "case", yaml.safe_load((HERE / "refusals.yaml").read_text()), ids=lambda case: str(case["change"])[:70]
)
def test_a_stack_that_cannot_work_is_refused(case: dict[str, Any], tmp_path: Path):
    said = yaml.safe_load((HERE / "stacks" / "kserve.yaml").read_text())
    for path, value in case["change"].items():
        said = changed(said, path, value)
    file = tmp_path / "kserve.yaml"
    file.write_text(yaml.safe_dump(said))
    try:
        found = [str(note) for note in plan(load(file), "kserve").refusals]
    except SpecError as error:
        found = [str(problem) for problem in error.problems]
    assert any(case["said"] in line for line in found), found
