"""A plan on a terminal: golden text at 80 columns, nothing wider, nothing that a name can break."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from berth.planner.plan import Plan
from berth.report.terminal import show
from tests.report import plans
from tests.report.golden import same_as_before


def shown(plan: Plan, width: int = 80, **settings: bool) -> str:
    file = io.StringIO()
    show(plan, Console(file=file, width=width, color_system=None, **settings))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("make", [plans.three, plans.too_much, plans.split, plans.without_gpu])
def test_terminal_looks_as_before(make: Callable[[], Plan]) -> None:
    assert same_as_before(f"{make.__name__}.txt", shown(make()))


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("make", [plans.three, plans.too_much, plans.hostile, plans.without_gpu])
def test_no_line_is_wider_than_the_terminal(make: Callable[[], Plan], width: int) -> None:
    assert max(cell_len(line) for line in shown(make(), width).splitlines()) <= width


def test_a_wide_terminal_also_says_what_the_cache_holds() -> None:
    assert "KV tokens" in shown(plans.three(), 100)
    assert "49,152" in shown(plans.three(), 100)


def test_a_name_is_text_and_no_markup_or_control_sequence() -> None:
    text = shown(plans.hostile(), 200)
    assert "[bold]|`x`" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_colours_reach_a_terminal_that_has_them() -> None:
    file = io.StringIO()
    show(plans.three(), Console(file=file, width=80, force_terminal=True, color_system="standard", no_color=False))
    assert "\x1b[" in file.getvalue()


def test_the_numbers_of_a_card_add_up_to_its_total() -> None:
    rows = [line.split() for line in shown(plans.three()).splitlines() if "-main-" in line or line.startswith("  free")]
    assert sum(float(row[-1]) for row in rows) == pytest.approx(31.8, abs=0.2)
