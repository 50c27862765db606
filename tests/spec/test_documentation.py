"""Every stack file that the documentation shows is one, and plans without a refusal."""

import re
from pathlib import Path

import pytest

from berth.planner.planning import plan
from berth.spec import loads

PAGE = Path(__file__).parents[2] / "docs" / "stack-file.md"
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: re.findall(r"^  ([a-z0-9-]+):", text, re.MULTILINE)[-1])
def test_an_example_plans_clean(text: str):
    assert plan(loads(text), "example").refusals == ()
