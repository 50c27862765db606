"""The dashboards as Prometheus answers them, drawn: what stands in for pictures of Grafana, which is not here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

Series = tuple[Mapping[str, str], Sequence[tuple[float, float]]]
"""The labels of a line, and its points: seconds and value."""

Ask = Callable[[str], Sequence[Series]]
"""What Prometheus says of a question over the time that is drawn."""

_WIDE, _HIGH, _COLUMNS = 300, 150, 3
_PLOT = (10, 28, 280, 84)
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
_LEGENDS = 3


def draw(boards: Mapping[str, Mapping[str, Any]], ask: Ask) -> str:
    """All panels of all dashboards as one SVG."""
    panels = [panel for _, board in sorted(boards.items()) for panel in board["panels"]]
    rows = math.ceil(len(panels) / _COLUMNS)
    body = []
    for number, one in enumerate(panels):
        place = f"translate({number % _COLUMNS * _WIDE},{number // _COLUMNS * _HIGH})"
        body.append(f'<g transform="{place}">{"".join(_panel(one, ask))}</g>')
    size = f'viewBox="0 0 {_COLUMNS * _WIDE} {rows * _HIGH}"'
    style = "text{font:9px sans-serif;fill:#333}.title{font-size:11px;font-weight:bold}polyline{fill:none}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f'<style>{style}</style><rect width="100%" height="100%" fill="white"/>',
            *body,
            "</svg>\n",
        ]
    )


def _panel(panel: Mapping[str, Any], ask: Ask) -> Iterator[str]:
    lines = [(_legend(target["legendFormat"], labels), points) for target in panel["targets"]
             for labels, points in ask(target["expr"])]  # fmt: skip
    left, top, wide, high = _PLOT
    values = [value for _, points in lines for _, value in points if math.isfinite(value)]
    times = [at for _, points in lines for at, _ in points]
    most = max(values, default=0.0) or 1.0
    unit = panel["fieldConfig"]["defaults"]["unit"]
    yield f'<text class="title" x="{left}" y="14">{escape(panel["title"])}</text>'
    yield f'<text x="{left}" y="25">up to {most:.3g} {escape(unit)}</text>'
    yield f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" fill="none" stroke="#ccc"/>'
    if not times:
        return
    begin, span = min(times), max(max(times) - min(times), 1.0)
    for number, (legend, points) in enumerate(lines):
        at = " ".join(
            f"{left + (when - begin) / span * wide:.1f},{top + high - value / most * high:.1f}"
            for when, value in points
            if math.isfinite(value)
        )
        colour = _COLOURS[number % len(_COLOURS)]
        yield f'<polyline points="{at}" stroke="{colour}"/>'
        if number < _LEGENDS:
            below = top + high + 11 + number * 9
            yield f'<text x="{left}" y="{below}" style="fill:{colour}">{escape(legend[:60])}</text>'


def _legend(form: str, labels: Mapping[str, str]) -> str:
    """Grafana's way to name a line by its labels."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)
