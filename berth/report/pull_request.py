"""All stacks of a project as one comment on a pull request: a line for each, then each plan folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from berth.planner.plan import Plan
from berth.report.markdown import badge, escape, folded, to_markdown
from berth.report.view import conclusion, outcome

MARKER = "<!-- berth: all stacks -->"
"""The first line of the comment, by which the next run finds it and writes over it."""

LIMIT = 65_536
"""The most characters that GitHub takes in one comment."""


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """One stack file: its plan, or the problems that leave it without one, and what Pulumi's preview printed."""

    stack: str
    plan: Plan | None = None
    problems: tuple[str, ...] = ()
    preview: str | None = None


def comment(reviewed: Sequence[Reviewed], *, limit: int = LIMIT) -> str:
    """The whole comment. What does not fit the limit is left out from the end, and named."""
    head = [MARKER, "### Plan of every stack", "", "| stack | | |", "| :-- | :-- | :-- |"]
    head += [_line(one) for one in reviewed]
    text = "\n".join([*head, "", ""])
    left_out = []
    for one in reviewed:
        section = _section(one)
        if len(text) + len(section) > limit - 1000:  # room for the sentence that names what is left out
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
    return f"| **{escape(one.stack)}** | {badge(word)} {word} | {escape(conclusion(one.plan))} |"


def _section(one: Reviewed) -> str:
    if one.plan is None:
        body = [*(f"- {escape(problem)}" for problem in one.problems), ""]
        return "\n".join(folded(one.stack, "🔴", "wrong input", "", body, unfold=True)) + "\n\n"
    section = to_markdown(one.plan)
    if one.preview is not None:
        section += "\n".join(folded(one.stack, "🔎", "pulumi preview", "", _code(one.preview)))
    return section + "\n"


def _code(text: str) -> list[str]:
    """A fenced block; its fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", *text.rstrip().splitlines(), fence, ""]
