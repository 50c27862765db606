"""All stacks of a project as one comment on a pull request: a line for each, then each plan folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from berth.planner.plan import Plan
from berth.report.changes import changes
from berth.report.markdown import badge, escape, folded, to_markdown
from berth.report.view import conclusion, outcome

MARKER = "<!-- berth: all stacks -->"
"""The first line of the comment, by which the next run finds it and writes over it."""

LIMIT = 65_536
"""The most characters that GitHub takes in one comment."""

_ADDRESS = 200
"""Characters of a picture's address on GitHub."""


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """One stack file: its plan, or the problems that leave it without one, and what Pulumi's preview printed.

    Where it was `compared`, `before` is its plan without the change, None for a stack that was not there or not right.
    `picture` is where the plan is drawn, as the comment refers to it.
    """

    stack: str
    plan: Plan | None = None
    problems: tuple[str, ...] = ()
    preview: str | None = None
    compared: bool = False
    before: Plan | None = None
    picture: str | None = None


def comment(reviewed: Sequence[Reviewed], *, limit: int = LIMIT) -> str:
    """The whole comment. What does not fit the limit is left out from the end, and named."""
    head = [MARKER, "### Plan of every stack", "", "| stack | | |", "| :-- | :-- | :-- |"]
    head += [_line(one) for one in reviewed]
    text = "\n".join([*head, "", ""])
    left_out = []
    # Room for the sentence that names what is left out, and for the pictures' addresses, which are longer in the end.
    room = limit - 1000 - sum(_ADDRESS for one in reviewed if one.picture is not None)
    for one in reviewed:
        section = _section(one)
        if len(text) + len(section) > room:
            left_out.append(escape(one.stack))
        else:
            text += section
    if left_out:
        names = ", ".join(left_out)
        text += (
            f"Left out, since a comment has at most {limit} characters; `berth plan` shows them: {names}"[:990] + "\n"
        )
    return text


def _line(one: Reviewed) -> str:
    if one.plan is None:
        many = len(one.problems)
        return (
            f"| **{escape(one.stack)}** | 🔴 wrong input | {many} problem{'' if many == 1 else 's'} in the stack file |"
        )
    word = outcome(one.plan)
    changed = ""
    if one.compared:
        changed = ", new" if one.before is None else ", changed" if changes(one.before, one.plan) else ", unchanged"
    return f"| **{escape(one.stack)}** | {badge(word)} {word}{changed} | {escape(conclusion(one.plan))} |"


def _section(one: Reviewed) -> str:
    if one.plan is None:
        body = [*(f"- {escape(problem)}" for problem in one.problems), ""]
        return "\n".join(folded(one.stack, "🔴", "wrong input", "", body, unfold=True)) + "\n\n"
    section = to_markdown(one.plan)
    if one.before is not None and (lines := changes(one.before, one.plan)):
        section += "\n".join(folded(one.stack, "✏️", "what changes", "", _code(lines, "diff"), unfold=True)) + "\n"
    if one.picture is not None and one.plan.cards:
        section += f"\n![Memory plan of {escape(one.stack)}]({one.picture})\n\n"
    if one.preview is not None:
        section += "\n".join(folded(one.stack, "🔎", "pulumi preview", "", quoted(one.preview)))
    return section + "\n"


def quoted(text: str) -> list[str]:
    """What a program printed, as a block that it cannot end."""
    return _code(text.rstrip().splitlines())


def _code(lines: Sequence[str], kind: str = "text") -> list[str]:
    """A fenced block; its fence is longer than any in the text."""
    fence = "```"
    while any(fence in line for line in lines):
        fence += "`"
    return [f"{fence}{kind}", *lines, fence, ""]
