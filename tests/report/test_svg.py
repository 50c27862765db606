"""The picture of a plan: well-formed, to scale, self-contained, readable for those who do not see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from berth.planner.plan import Plan
from berth.report.svg import to_svg
from berth.report.view import clean
from tests.report import plans

SVG = "{http://www.w3.org/2000/svg}"
MODELS = [plans.three, plans.too_much, plans.split, plans.without_gpu, plans.hostile]


def drawn(plan: Plan) -> ET.Element:
    return ET.fromstring(to_svg(plan))  # noqa: S314 - our own text


def widths(root: ET.Element, kind: str) -> float:
    """The width of all parts of one kind in the bars; the squares of the legend are 10 high."""
    boxes = [box for box in root.iter(f"{SVG}rect") if box.get("class") == kind and box.get("height") != "10"]
    return sum(float(box.attrib["width"]) for box in boxes)


@pytest.mark.parametrize("make", MODELS)
def test_a_picture_is_self_contained(make: Callable[[], Plan]) -> None:
    text = to_svg(make())
    root = ET.fromstring(text)  # noqa: S314 - our own text
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "line"}
    assert "url(" not in text
    assert "@import" not in text
    assert "@font-face" not in text
    assert re.findall(r"https?://[^\"<\s]*", text) == ["http://www.w3.org/2000/svg"]


def test_parts_are_drawn_to_scale() -> None:
    root = drawn(plans.three())
    per_gib = widths(root, "free") / 31.84  # the track below everything is the whole card
    assert widths(root, "weights") == pytest.approx((2.05 + 5.79 + 11.3) * per_gib, abs=0.1)
    assert widths(root, "kv-cache") == pytest.approx((2.1 + 1.45 + 2.2) * per_gib, abs=0.1)
    assert widths(root, "overhead") == pytest.approx(1.5 * per_gib, abs=0.1)


def test_what_a_card_does_not_have_is_drawn_beyond_its_end() -> None:
    root = drawn(plans.too_much())
    assert widths(root, "over-card") == pytest.approx(widths(root, "free") * 9.2 / 32.8, rel=0.01)


def test_it_says_in_words_what_it_shows() -> None:
    root = drawn(plans.three())
    named = root.attrib["aria-labelledby"].split()
    said = {element.get("id"): element.text for element in root if element.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert root.get("role") == "img"
    assert list(said) == named
    assert said[named[0]] == "Memory plan of rtx5090"
    assert "4.2 GiB free" in str(said[named[1]])


def test_two_pictures_in_one_page_have_different_names() -> None:
    assert not set(drawn(plans.three()).attrib["aria-labelledby"].split()) & set(
        drawn(plans.split()).attrib["aria-labelledby"].split()
    )


def test_both_colour_schemes_style_the_same_things() -> None:
    style = next(drawn(plans.three()).iter(f"{SVG}style")).text or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    coloured = {line.split(" {")[0].strip() for line in light.splitlines() if "#" in line}
    assert coloured == {line.split(" {")[0].strip() for line in dark.splitlines() if "#" in line}


def test_hostile_names_stay_text() -> None:
    text = to_svg(plans.hostile())
    assert "<script" not in text
    assert "\x1b" not in text
    assert any(
        element.text == clean(plans.HOSTILE) + "-main-0" for element in drawn(plans.hostile()).iter(f"{SVG}title")
    )


@pytest.mark.parametrize("make", MODELS)
def test_nothing_is_drawn_outside(make: Callable[[], Plan]) -> None:
    root = drawn(make())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root.iter():
        if "x" in element.attrib:
            assert 0 <= float(element.attrib["x"]) <= width
            assert float(element.attrib["x"]) + float(element.attrib.get("width", 0)) <= width
            assert 0 <= float(element.attrib["y"]) <= height
