"""A plan on a terminal, with rich: a bar and a table per card, then notes and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from berth.planner.plan import Plan, ReplicaPlan
from berth.report.bar import ASCII_GLYPHS, GLYPHS, runs
from berth.report.view import (
    CardView,
    HostView,
    Outcome,
    Part,
    Use,
    advice,
    clean,
    conclusion,
    engine,
    gpu_memory,
    hosts,
    outcome,
    remarks,
)

_COLOURS = {Part.WEIGHTS: "blue", Part.KV: "cyan", Part.ACTIVATIONS: "yellow", Part.OVERHEAD: "magenta"}
_FREE = "bright_black"
_VERDICTS = {
    "fits": "bold green",
    "tight": "bold yellow",
    "unknown": "bold yellow",
    "does not fit": "bold red",
    "refused": "bold red",
}
_REMARKS = {"refusal": "bold red", "warning": "yellow", "not yet": "yellow", "note": "bright_black"}
_WIDEST = 120  # columns; a wider bar says nothing more and tears the table apart
_ROOMY = 96  # columns; from here on the table also says what the cache holds


def show(plan: Plan, console: Console) -> None:
    """Print the plan; as wide as the terminal, at most 120 columns."""
    width = min(console.width, _WIDEST)
    title = Text(clean(plan.stack), style="bold").append(
        f"  profile {clean(plan.profile)}", style="not bold bright_black"
    )
    console.print(title, width=width)
    for host in hosts(plan):
        console.print(_host(host, width, ascii_only=console.options.ascii_only), width=width)
    console.print(_remarks(plan), width=width)
    word = outcome(plan)
    console.print(
        Text(word.value, style=_VERDICTS[word]).append(f": {conclusion(plan)}", style="default not bold"), width=width
    )
    if word is Outcome.UNKNOWN:
        console.print("unknown is no refusal: a term of a model's memory is not known, the engine decides", width=width)


def _host(host: HostView, width: int, *, ascii_only: bool) -> RenderableType:
    title = Text("\n" + clean(host.name), style="bold")
    title.append(
        f"  {clean(host.reached)}{f', {clean(host.runtime)}' if host.runtime else ''}", style="not bold bright_black"
    )
    parts: list[RenderableType] = [_card(card, width - 2, ascii_only=ascii_only) for card in host.cards]
    if host.others:
        parts.append(_others(host.others))
    if host.prepared:
        title.append(f"\n  is made ready with {clean(host.prepared)}", style="not bold bright_black")
    return Group(title, *(Padding(part, (1 if number else 0, 0, 0, 2)) for number, part in enumerate(parts)))


def _card(card: CardView, width: int, *, ascii_only: bool) -> RenderableType:
    head = Table.grid(expand=True)
    head.add_column(overflow="ellipsis", no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(
        Text(card.title).append(f"  {clean(card.hardware)}", style="bright_black"),
        Text(card.verdict.value, style=_VERDICTS[card.verdict.value]),
    )
    bar = _bar(card, width, ascii_only=ascii_only)
    tables = [_table(card, ascii_only=ascii_only, roomy=width >= _ROOMY)] if card.uses else []
    return Group(head, bar, *tables, *_advice(card))


def _bar(card: CardView, width: int, *, ascii_only: bool) -> Text:
    glyphs, free = (ASCII_GLYPHS, ".") if ascii_only else (GLYPHS, "·")
    bar = Text(no_wrap=True, overflow="crop")
    for run in runs(card, width):
        if run.part is None:
            bar.append(free * run.cells, style=_FREE)
        else:
            bar.append(
                glyphs[run.part] * run.cells if not run.over else "!" * run.cells,
                style="bold red" if run.over else _COLOURS[run.part],
            )
    return bar


def _table(card: CardView, *, ascii_only: bool, roomy: bool) -> Table:
    glyphs = ASCII_GLYPHS if ascii_only else GLYPHS
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True, show_edge=False)
    table.add_column(Text("GiB", style="not bold bright_black"), ratio=1, overflow="fold")
    for part in Part:
        heading = Text(f"{glyphs[part]} ", style=f"not bold {_COLOURS[part]}").append(
            part.value, style="default not bold"
        )
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(Text("used", style="not bold"), justify="right", no_wrap=True)
    if roomy:
        table.add_column(Text("KV tokens", style="not bold bright_black"), justify="right", no_wrap=True)
        table.add_column(Text("requests", style="not bold bright_black"), justify="right", no_wrap=True)
    for use in card.uses:
        cells = [f"{use.memory.kv_tokens:,}", f"{use.memory.max_concurrency:.1f}"] if use.memory and roomy else []
        table.add_row(Text(clean(use.name)), *_numbers(use), Text(f"{use.size.gib:.1f}", style="bold"), *cells)
    word, style = ("missing", "bold red") if card.missing else ("free", "bright_black")
    table.add_row(Text(word, style=style), *[""] * len(Part), Text(f"{abs(card.free.gib):.1f}", style=style))
    return table


def _numbers(use: Use) -> Iterator[str]:
    for part in Part:
        yield f"{use.parts[part].gib:.1f}" if use.parts[part] or use.memory else ""


def _advice(card: CardView) -> Iterator[Text]:
    style = _VERDICTS[card.verdict.value].removeprefix("bold ")
    for lead, line in advice(card):
        yield Text(f"{lead}: ", style=style).append(clean(line), style="default")


def _others(replicas: tuple[ReplicaPlan, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("replica", "engine", "GPU memory", "port", "requests at once"):
        numbers = heading in {"port", "requests at once"}
        table.add_column(Text(heading, style="not bold bright_black"), justify="right" if numbers else "left")
    for replica in replicas:
        name, at_once = Text(clean(replica.name)), str(replica.max_concurrency)
        table.add_row(name, Text(engine(replica)), gpu_memory(replica), str(replica.port), at_once)
    return table


def _remarks(plan: Plan) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for word, text in remarks(plan):
        table.add_row(Text(word, style=_REMARKS[word]), Text(clean(text)))
    return Padding(table, (1, 0, 1, 0)) if table.row_count else Text()
