"""The picture in the documents is the one that the committed stack file gives today."""

import os
from pathlib import Path

from berth.planner.planning import plan
from berth.report.svg import to_svg
from berth.spec import load

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/plan.svg"


def test_the_picture_of_a_plan_is_what_rtx5090_plans_to():
    drawn = to_svg(plan(load(ROOT / "stacks/rtx5090.yaml"), "rtx5090"))
    if os.environ.get("BERTH_WRITE_GOLDEN"):
        PICTURE.write_text(drawn)
    assert PICTURE.read_text() == drawn
