"""The picture in the documentation is one that the code draws."""

from __future__ import annotations

from pathlib import Path

from berth.report.svg import to_svg
from tests.report import plans

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "plan.svg"


def test_the_picture_in_the_documentation_is_drawn_by_this_code() -> None:
    assert PICTURE.read_text(encoding="utf-8") == to_svg(plans.three())
