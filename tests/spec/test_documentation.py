"""Every stack file that the documentation shows is one, and plans without a refusal."""

import re
from pathlib import Path

import pytest

from berth.planner.planning import plan
from berth.spec import loads

PAGES = [Path(__file__).parents[2] / "docs" / name for name in ("stack-file.md", "prerequisites.md", "revisions.md")]
EXAMPLES = [
    example
    for page in PAGES
    for example in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: re.findall(r"^  ([a-z0-9-]+):", text, re.MULTILINE)[-1])
def test_an_example_plans_clean(text: str):
    assert plan(loads(text), "example").refusals == ()
