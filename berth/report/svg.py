"""A plan as a picture: every card's memory as a stacked bar to scale, for documents and pull requests.

The picture brings its own background, so that it is readable on a page of either colour, and follows the reader's
preference for light or dark. Text is laid out by estimated widths, since nothing here can measure a font.
"""

from __future__ import annotations

import unicodedata
from importlib.resources import files
from textwrap import wrap
from xml.etree import ElementTree as ET
from zlib import crc32

from berth.catalogue.units import Bytes
from berth.planner.plan import Plan, ReplicaPlan
from berth.report.lines import lines
from berth.report.view import (
    CardView,
    HostView,
    Part,
    Use,
    advice,
    clean,
    conclusion,
    engine,
    gpu_memory,
    hosts,
    outcome,
)

_WIDTH, _MARGIN = 860, 28
_INNER = _WIDTH - 2 * _MARGIN
_BAR = 34  # height of a card's bar
_LINE = 21  # from one line of text to the next
_COLUMNS = dict(zip(Part, (470, 570, 685, 785), strict=True))  # right edges of the numbers; `used` ends at the margin
_TONES = {"fits": "good", "tight": "careful", "unknown": "careful", "does not fit": "bad", "refused": "bad"}


def to_svg(plan: Plan) -> str:
    """The plan as one SVG document without external fonts, scripts or images."""
    drawing = _Drawing()
    _head(drawing, plan)
    for host in hosts(plan):
        _host(drawing, host)
    return drawing.document(clean(f"Memory plan of {plan.stack}"), "\n".join(lines(plan)))


class _Drawing:
    """Elements from top to bottom; `y` is where the next one goes."""

    def __init__(self) -> None:
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
        self.y = 44.0

    def text(self, x: float, content: str, *kinds: str, room: float = _INNER, up: float = 0.0) -> float:
        """Write at the current line and return the width; what exceeds `room` is cut, the whole stays as its title."""
        kind = " ".join(kinds)
        size = 20 if "title" in kinds else 15 if "host" in kinds else 11 if "small" in kinds else 13
        whole = clean(content)
        shown = _cut(whole, room, size)
        element = self._add("text", {"x": _number(x), "y": _number(self.y - up)}, kind)
        element.text = shown
        if shown != whole:
            ET.SubElement(element, "title").text = whole
        return _estimate(shown, size)

    def box(
        self, x: float, width: float, height: float, *kinds: str, up: float = 0.0, round_by: float = 0.0
    ) -> ET.Element:
        """A rectangle whose top is at the current line, `up` above it."""
        place = {"x": _number(x), "y": _number(self.y - up), "width": _number(width), "height": _number(height)}
        return self._add("rect", place | ({"rx": _number(round_by)} if round_by else {}), " ".join(kinds))

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line; the ys are relative to the current line."""
        ends = {"x1": x1, "y1": self.y + y1, "x2": x2, "y2": self.y + y2}
        self._add("line", {name: _number(value) for name, value in ends.items()}, kind)

    def _add(self, tag: str, attributes: dict[str, str], kind: str) -> ET.Element:
        return ET.SubElement(self.root, tag, attributes | ({"class": kind} if kind else {}))

    def document(self, title: str, description: str) -> str:
        """The finished document, with its size, background, style and the words a screen reader says."""
        height = self.y + 4
        # Several pictures may stand in one page: their names must differ.
        mark = f"berth-{crc32(description.encode()):08x}"
        self.root.attrib |= {
            "viewBox": f"0 0 {_WIDTH} {_number(height)}",
            "width": str(_WIDTH),
            "height": _number(height),
            "aria-labelledby": f"{mark}-title {mark}-desc",
        }
        panel = ET.Element("rect", {"x": "0.5", "y": "0.5", "rx": "10", "class": "panel"})
        panel.attrib |= {"width": str(_WIDTH - 1), "height": _number(height - 1)}
        style = ET.Element("style")
        style.text = "\n" + files("berth.report").joinpath("svg.css").read_text(encoding="utf-8")
        for position, (tag, text) in enumerate((("title", title), ("desc", description))):
            element = ET.Element(tag, {"id": f"{mark}-{tag}"})
            element.text = text
            self.root.insert(position, element)
        self.root.insert(2, style)
        self.root.insert(3, panel)
        ET.indent(self.root)
        return ET.tostring(self.root, encoding="unicode") + "\n"


def _head(drawing: _Drawing, plan: Plan) -> None:
    word = outcome(plan)
    pill = _estimate(word.value, 13) + 24
    right = _WIDTH - _MARGIN
    drawing.box(right - pill, pill, 24, _TONES[word.value], up=19, round_by=12)
    drawing.text(right - pill / 2, word.value, "pill-text", "middle", up=2)
    used = drawing.text(_MARGIN, plan.stack, "title", room=_INNER - pill - 180)
    drawing.text(_MARGIN + used + 12, f"profile {plan.profile}", "muted", room=160)
    drawing.y += _LINE + 3
    drawing.text(_MARGIN, conclusion(plan), "muted")
    drawing.y += 12


def _host(drawing: _Drawing, host: HostView) -> None:
    drawing.y += 26
    used = drawing.text(_MARGIN, host.name, "host", room=_INNER / 2)
    drawing.text(_MARGIN + used + 10, f"{host.reached}, {host.runtime}", "muted", room=_INNER - used - 10)
    drawing.y += 10
    for card in host.cards:
        _card(drawing, card)
    if host.others:
        _others(drawing, host.others)


def _card(drawing: _Drawing, card: CardView) -> None:
    drawing.y += 18
    used = drawing.text(_MARGIN, card.title, "strong", room=_INNER / 3)
    room = f"{card.missing} missing" if card.missing else f"{Bytes(abs(card.free))} free"
    drawing.text(_MARGIN + used + 10, card.hardware, "muted", room=_INNER / 2)
    drawing.text(
        _WIDTH - _MARGIN, f"{card.verdict}, {room}", "strong", "end", _TONES[card.verdict.value], room=_INNER / 3
    )
    _labels(drawing, card)
    _bar(drawing, card)
    _ticks(drawing, card)
    if card.uses:
        _table(drawing, card)
    for lead, line in advice(card):
        tone = _TONES[card.verdict.value] if lead == "because" else ""
        for part in wrap(clean(f"{lead}: {line}"), int(_INNER / _estimate("x", 13))):
            drawing.text(_MARGIN, part, *filter(None, [tone]))
            drawing.y += _LINE
    drawing.y -= 4


def _x(card: CardView, size: int) -> float:
    return _MARGIN + _INNER * size / card.scale


def _labels(drawing: _Drawing, card: CardView) -> None:
    """The names above the bar, where there is room for the whole name."""
    drawing.y += 24
    size = 0
    for use in card.uses:
        start, end = _x(card, size), _x(card, size + use.size)
        if _estimate(clean(use.name), 11) <= end - start:
            drawing.text(start, use.name, "small", "muted", room=end - start)
        size += use.size
    drawing.y += 6


def _bar(drawing: _Drawing, card: CardView) -> None:
    drawing.box(_MARGIN, _INNER, _BAR, "free", round_by=3)
    size = 0
    for use in card.uses:
        for part, amount in use.parts.items():
            if amount > 0:
                start, end = _x(card, size), _x(card, size + amount)
                element = drawing.box(start, end - start, _BAR, _kind(part))
                ET.SubElement(element, "title").text = clean(f"{use.name}: {part} {amount}")
            size += amount
        drawing.box(_x(card, size) - 1, 2, _BAR, "panel-gap")
    if card.missing:
        _beyond(drawing, card)
    drawing.y += _BAR


def _beyond(drawing: _Drawing, card: CardView) -> None:
    """What the card does not have, struck through, with a line where the card ends."""
    edge, end = _x(card, card.total), _x(card, card.scale)
    element = drawing.box(edge, end - edge, _BAR, "over-card")
    ET.SubElement(element, "title").text = f"beyond the end of the card: {Bytes(-card.free)}"
    for number in range(int((end - edge - _BAR / 2) // 10) + 1):
        left = edge + number * 10
        if left + _BAR / 2 <= end:
            drawing.line(left, _BAR, left + _BAR / 2, 0, "over-line")


def _ticks(drawing: _Drawing, card: CardView) -> None:
    """A scale below the bar: some round amounts and the end of the card."""
    gib = card.scale.gib
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64, 128, 1 << 20) if gib / step <= 8)
    marks = [*(float(mark) for mark in range(0, int(gib) + 1, step)), card.total.gib]
    for mark in marks:
        near_end = mark != marks[-1] and abs(mark - card.total.gib) < gib / 16
        x = _x(card, Bytes.from_gib(mark))
        if not near_end:
            drawing.line(x, 2, x, 6, "tick")
            anchor = "end" if x > _WIDTH - _MARGIN - 12 else "middle" if mark else "start"
            label = f"{mark:.1f} GiB" if mark == marks[-1] else f"{mark:.0f}"
            drawing.text(x, label, "small", "muted", anchor, up=-18)
    drawing.y += 24


def _table(drawing: _Drawing, card: CardView) -> None:
    drawing.y += 20
    right = _WIDTH - _MARGIN
    drawing.text(_MARGIN, "GiB", "muted", "small")
    for part, edge in _COLUMNS.items():
        width = drawing.text(edge, part.value, "end", "small", "muted")
        drawing.box(edge - width - 16, 10, 10, _kind(part), up=9, round_by=2)
    drawing.text(right, "used", "end", "small", "muted")
    for use in card.uses:
        drawing.y += _LINE
        drawing.text(_MARGIN, use.name, room=_COLUMNS[Part.WEIGHTS] - _MARGIN - 60)
        for part, amount in _known(use):
            drawing.text(_COLUMNS[part], f"{amount.gib:.1f}", "end")
        drawing.text(right, f"{use.size.gib:.1f}", "end", "strong")
    drawing.y += _LINE + 4


def _known(use: Use) -> list[tuple[Part, Bytes]]:
    return [(part, amount) for part, amount in use.parts.items() if amount or use.memory]


def _others(drawing: _Drawing, replicas: tuple[ReplicaPlan, ...]) -> None:
    for replica in replicas:
        drawing.y += _LINE
        used = drawing.text(_MARGIN, replica.name, room=_INNER / 2) + 10
        line = f"{engine(replica)}, port {replica.port}, GPU memory: {gpu_memory(replica)}"
        drawing.text(_MARGIN + used, line, "muted", room=_INNER - used)
    drawing.y += _LINE


def _kind(part: Part) -> str:
    return part.value.lower().replace(" ", "-")


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _estimate(text: str, size: int) -> float:
    """The width of text in pixels, rather too wide than too narrow."""
    return sum(size if unicodedata.east_asian_width(char) in "WF" else 0.6 * size for char in text)


def _cut(text: str, room: float, size: int) -> str:
    if _estimate(text, size) <= room:
        return text
    kept = text
    while kept and _estimate(kept + "…", size) > room:
        kept = kept[:-1]
    return kept + "…"
