"""How the planner makes notes, so that each is one line at its place."""

from __future__ import annotations

from berth.planner.plan import Note, Severity


def refusal(where: str, text: str) -> Note:
    """A note that stops the plan: what is, what must be, what to do."""
    return Note(severity=Severity.REFUSAL, where=where, text=text)


def warning(where: str, text: str) -> Note:
    """A note on what may go wrong."""
    return Note(severity=Severity.WARNING, where=where, text=text)


def remark(where: str, text: str) -> Note:
    """A note on what was decided or dropped, and why."""
    return Note(severity=Severity.NOTE, where=where, text=text)
