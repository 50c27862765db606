"""A plan as lines for a log: golden texts, one line each, no colour."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from berth.planner.plan import Plan
from berth.report.lines import lines
from tests.report import plans
from tests.report.golden import same_as_before


@pytest.mark.parametrize("make", [plans.three, plans.too_much, plans.split, plans.without_gpu])
def test_lines_look_as_before(make: Callable[[], Plan]) -> None:
    assert same_as_before(f"{make.__name__}.lines", "\n".join(lines(make())) + "\n")


@pytest.mark.parametrize("make", [plans.three, plans.too_much, plans.split, plans.without_gpu, plans.hostile])
def test_every_line_is_one_printable_line(make: Callable[[], Plan]) -> None:
    assert all(line.isprintable() for line in lines(make()))


def test_the_first_line_is_the_verdict() -> None:
    assert lines(plans.too_much())[0].startswith("rtx5090 (profile balanced): does not fit, ")
