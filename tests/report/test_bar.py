"""A bar shows every size to scale, whatever the sizes are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from berth.catalogue.units import Bytes
from berth.planner.verdict import Verdict
from berth.report.bar import runs, text
from berth.report.view import CardView, Part, Use, hosts
from tests.report import plans


def card(total: int, sizes: list[tuple[int, int, int, int]]) -> CardView:
    uses = tuple(
        Use(name=f"m{number}", size=Bytes(sum(four)), parts=dict(zip(Part, map(Bytes, four), strict=True)))
        for number, four in enumerate(sizes)
    )
    free = Bytes(total - sum(use.size for use in uses))
    verdict = Verdict.DOES_NOT_FIT if free < 0 else Verdict.FITS
    return CardView(
        host="h", indices=(0,), model="m", total=Bytes(total), uses=uses, free=free, verdict=verdict,
        reasons=(), suggestions=(),
    )  # fmt: skip


amounts = st.integers(min_value=0, max_value=2**37)


@given(
    total=amounts, sizes=st.lists(st.tuples(amounts, amounts, amounts, amounts), max_size=6), width=st.integers(1, 120)
)
def test_a_bar_has_its_width_and_every_part_its_length(
    total: int, sizes: list[tuple[int, int, int, int]], width: int
) -> None:
    view = card(total, sizes)
    made = runs(view, width)
    assert sum(run.cells for run in made) == width
    assert len(text(view, width)) == width
    for number, use in enumerate(view.uses):
        cells = sum(run.cells for run in made if run.use == number)
        assert abs(cells - use.size * width / view.scale) <= 1


def test_what_lies_beyond_the_card_is_marked() -> None:
    (host,) = hosts(plans.too_much())
    assert text(host.cards[0], 40).count("!") == round(40 * 9.2 / 32.8)


def test_a_terminal_without_unicode_gets_a_bar_too() -> None:
    (host,) = hosts(plans.three())
    assert text(host.cards[0], 60, ascii_only=True).isascii()
