"""How a command tells a user what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

FAILED = 1
"""The exit code where what was asked for could not be done: a machine does not answer, Pulumi says no."""
WRONG_INPUT = 2
"""The exit code where what the user gave cannot be used."""


class WrongInput(Exception):
    """The user's input cannot be used; the message is one line."""


def complain(line: str) -> None:
    """Write a line to standard error, in red where that is a terminal, without what a terminal would obey."""
    from berth.report.view import clean  # noqa: PLC0415 - most commands have nothing to complain about

    typer.secho(clean(line), err=True, fg=typer.colors.RED)


@contextmanager
def failing(*errors: type[Exception], code: int = FAILED) -> Iterator[None]:
    """Ends the command with `code` and says the error in a line for each of its own, where one of these comes."""
    try:
        yield
    except errors as error:
        for line in str(error).splitlines():
            complain(line)
        raise typer.Exit(code) from None


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Says which option to correct where a file or folder that it names cannot be written.

    Raises:
        WrongInput: it cannot be.
    """
    try:
        yield
    except OSError as error:
        raise WrongInput(f"{path}: cannot be written ({error.strerror}); name another for {option}") from None
