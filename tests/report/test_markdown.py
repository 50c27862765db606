"""A plan as Markdown: golden texts, and names that stay text when a real Markdown parser reads them."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from berth.planner.plan import Plan
from berth.report.markdown import escape, to_markdown
from berth.report.view import clean
from tests.report import plans
from tests.report.golden import same_as_before

OURS = {
    "details", "summary", "b", "br", "p", "strong", "em", "code", "blockquote",
    "ul", "li", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


class Page(HTMLParser):
    """The tags and the text of a page, as a browser sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base's name
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def page(markdown: str) -> Page:
    return Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


@pytest.mark.parametrize("make", [plans.three, plans.too_much, plans.split, plans.without_gpu, plans.hostile])
def test_markdown_looks_as_before(make: Callable[[], Plan]) -> None:
    assert same_as_before(f"{make.__name__}.md", to_markdown(make()))


def test_a_card_becomes_a_table_and_a_plan_that_stops_is_open() -> None:
    found = page(to_markdown(plans.three()))
    assert found.tags.count("table") == 1
    assert found.tags.count("tr") == 5
    assert "<details open>" in to_markdown(plans.too_much())
    assert "<details>" in to_markdown(plans.three())


def test_hostile_names_stay_text() -> None:
    found = page(to_markdown(plans.hostile()))
    assert set(found.tags) <= OURS
    assert found.text.count(clean(plans.HOSTILE)) == 6  # title, card, row, both halves of the note, what is not built
    assert "@team" not in to_markdown(plans.hostile())
    assert "#7" not in to_markdown(plans.hostile())


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    found = page(f"| a |\n| - |\n| x{escape(text)}x |\n")
    assert set(found.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert found.text.rstrip("\n").endswith(f"x{clean(text)}x")
