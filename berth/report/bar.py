"""A card's memory as a row of cells: which part of which use each cell shows, to scale."""

from __future__ import annotations

from dataclasses import dataclass

from berth.report.view import CardView, Part

GLYPHS = {Part.WEIGHTS: "█", Part.KV: "▓", Part.ACTIVATIONS: "▒", Part.OVERHEAD: "░"}
"""Shades that tell the parts apart without colour."""

ASCII_GLYPHS = {Part.WEIGHTS: "#", Part.KV: "=", Part.ACTIVATIONS: "+", Part.OVERHEAD: "-"}
"""The same for a terminal that knows no more."""


@dataclass(frozen=True)
class Run:
    """Neighbouring cells that show the same; `part` None is free memory, `over` lies beyond the end of the card."""

    use: int | None
    part: Part | None
    cells: int
    over: bool = False


def runs(card: CardView, width: int) -> tuple[Run, ...]:
    """The bar of a card in `width` cells. Edges are rounded, not lengths, so that errors do not add up."""
    made: list[Run] = []
    capacity = _cell(card.total, card, width)
    position, size = 0, 0
    for number, use in enumerate(card.uses):
        for part, amount in use.parts.items():
            size += amount
            end = _cell(size, card, width)
            inside = min(end, capacity) - min(position, capacity)
            made += [Run(number, part, inside), Run(number, part, end - position - inside, over=True)]
            position = end
    made.append(Run(None, None, width - position))
    return tuple(run for run in made if run.cells > 0)


def text(card: CardView, width: int, *, ascii_only: bool = False) -> str:
    """The bar as plain text; what lies beyond the end of the card is shown as `!`."""
    glyphs, free = (ASCII_GLYPHS, ".") if ascii_only else (GLYPHS, "·")
    return "".join(
        ("!" if run.over else free if run.part is None else glyphs[run.part]) * run.cells for run in runs(card, width)
    )


def _cell(size: int, card: CardView, width: int) -> int:
    return round(size * width / card.scale)
