# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth doctor`: what is well on a stack's hosts, and what is not."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from berth.cli.options import Profile, StackFile
from berth.cli.saying import WRONG_INPUT, failing


class Answer(StrEnum):
    """How a diagnosis is written."""

    TEXT = "text"
    JSON = "json"


def doctor(
    stack: StackFile,
    *,
    profile: Profile = None,
    form: Annotated[Answer, typer.Option("--format", help="json is for programs.")] = Answer.TEXT,
) -> None:
    """Look at every host of a stack, and say what is well, what is not and what to do; nothing is changed.

    Exit codes: 0 all is ok, 1 there are warnings or what could not be seen, 2 something fails or the input is wrong.
    """
    from berth import doctor as doctoring
    from berth import review
    from berth.examination import examine
    from berth.spec import SpecError

    with failing(review.NoSuchStack, SpecError, code=WRONG_INPUT):
        found = examine(review.find(stack), profile)
    if form is Answer.JSON:
        sys.stdout.write(doctoring.to_json(found) + "\n")
    else:
        colours = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
        for state, line in doctoring.lines(found):
            typer.secho(line, fg=colours.get(str(state)), bold=state is None)
    raise typer.Exit(found.code)
