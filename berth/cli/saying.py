"""How a command tells a user what is wrong."""

from __future__ import annotations

import typer

WRONG_INPUT = 2
"""The exit code where what the user gave cannot be used."""


class WrongInput(Exception):
    """The user's input cannot be used; the message is one line."""


def complain(line: str) -> None:
    """Write a line to standard error, in red where that is a terminal, without what a terminal would obey."""
    from berth.report.view import clean  # noqa: PLC0415 - most commands have nothing to complain about

    typer.secho(clean(line), err=True, fg=typer.colors.RED)
