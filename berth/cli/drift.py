# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth drift`: whether a stack's hosts are as declared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from berth.cli.saying import WRONG_INPUT, WrongInput, complain


def drift(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="The stack's name: stacks/STACK.yaml describes it.")],
    *,
    output: Annotated[Path | None, typer.Option(help="Write the report to this file too, as Markdown.")] = None,
) -> None:
    """Say what somebody changed on the hosts of a stack that is up; nothing is changed, and what differs is listed.

    Exit codes: 0 all is as declared, 1 something differs, 2 it could not be looked at.
    """
    from berth.drift import drift as look
    from berth.lifecycle.errors import LifecycleError

    try:
        found = look(stack)
    except LifecycleError as error:
        for line in str(error).splitlines():  # Pulumi says why in lines of its own
            complain(line)
        raise typer.Exit(WRONG_INPUT) from None
    sys.stdout.write(found.said)
    if output is not None:
        try:
            output.write_text(found.markdown, encoding="utf-8")
        except OSError as error:
            raise WrongInput(f"{output}: cannot be written ({error.strerror}); name another for --output") from None
    raise typer.Exit(1 if found.drifted else 0)
