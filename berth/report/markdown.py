"""A plan as Markdown for a pull request: folded per stack, a bar and a table per card, then what to know."""

from __future__ import annotations

import re
from collections.abc import Iterator

from berth.planner.plan import Plan, ReplicaPlan
from berth.report.bar import GLYPHS, text
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
    stops,
)

_BADGES = {
    Outcome.FITS: "🟢",
    Outcome.TIGHT: "🟡",
    Outcome.UNKNOWN: "⚪",
    Outcome.DOES_NOT_FIT: "🔴",
    Outcome.REFUSED: "🔴",
}
_BAR = 64  # columns of a code line that a phone still shows without scrolling far


def to_markdown(plan: Plan) -> str:
    """The plan as one folded section, open when it stops, in the Markdown that GitHub renders."""
    return "\n".join(_section(plan)) + "\n"


def badge(word: Outcome) -> str:
    """The coloured dot of an outcome."""
    return _BADGES[word]


def folded(title: str, mark: str, word: str, rest: str, body: list[str], *, unfold: bool = False) -> list[str]:
    """One `<details>` section; `title` and `rest` are plain text, `body` is Markdown."""
    summary = f"{mark} <b>{escape(title)}</b>: <b>{escape(word)}</b>{f', {escape(rest)}' if rest else ''}"
    return [f"<details{' open' if unfold else ''}><summary>{summary}</summary>", "", *body, "</details>"]


def escape(text: str) -> str:
    """Plain text so that Markdown, HTML, mentions and references in it stay text; always one line."""
    return _SPECIAL.sub(lambda found: _MEANT.get(found[0], f"&#{ord(found[0])};"), clean(text))


_SPECIAL = re.compile(r"[&<>\\`*\[\]|~$]|[@#](?=\w)|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")  # in a word _ is only itself
_MEANT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@<!-- -->", "#": "#<!-- -->"}  # a cut name is never linked


def _section(plan: Plan) -> list[str]:
    word = outcome(plan)
    body = [line for host in hosts(plan) for line in _host(host)]
    if known := [f"- **{word}** {escape(line)}" for word, line in remarks(plan)]:
        body += [*known, ""]
    title = f"{plan.stack} (profile {plan.profile})"
    return folded(title, badge(word), word.value, conclusion(plan), body, unfold=stops(plan))


def _host(host: HostView) -> Iterator[str]:
    ready = f", is made ready with {escape(host.prepared)}" if host.prepared else ""
    yield f"**{escape(host.name)}**, {escape(host.reached)}, {escape(host.runtime)}{ready}"
    yield ""
    for card in host.cards:
        yield from _card(card)
    if host.others:
        yield from _others(host.others)


def _card(card: CardView) -> Iterator[str]:
    yield f"{card.title}, {escape(card.hardware)}: **{card.verdict}**"
    yield ""
    yield f"`{text(card, _BAR)}`"
    yield ""
    parts = " | ".join(f"`{GLYPHS[part]}` {part}" for part in Part)
    yield f"| GiB | {parts} | used | KV tokens | requests |"
    yield f"| :-- |{' --: |' * (len(Part) + 3)}"
    yield from (_row(use) for use in card.uses)
    word = "missing" if card.missing else "free"
    yield f"| *{word}* |{'  |' * len(Part)} *{abs(card.free.gib):.1f}* |  |  |"
    yield ""
    if lines := [f"**{lead}** {escape(line)}" for lead, line in advice(card)]:
        yield f"> {'<br>'.join(lines)}"
        yield ""


def _row(use: Use) -> str:
    cells = [f"{size.gib:.1f}" if size or use.memory else "" for size in use.parts.values()]
    cache = [f"{use.memory.kv_tokens:,}", f"{use.memory.max_concurrency:.1f}"] if use.memory else ["", ""]
    return f"| {' | '.join([escape(use.name), *cells, f'**{use.size.gib:.1f}**', *cache])} |"


def _others(replicas: tuple[ReplicaPlan, ...]) -> Iterator[str]:
    yield "| replica | engine | GPU memory | port | requests at once |"
    yield "| :-- | :-- | :-- | --: | --: |"
    for replica in replicas:
        cells = [escape(replica.name), escape(engine(replica)), gpu_memory(replica)]
        yield f"| {' | '.join(cells)} | {replica.port} | {replica.max_concurrency} |"
    yield ""
