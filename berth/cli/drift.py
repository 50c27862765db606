# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth drift`: whether a stack's hosts are as declared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from berth.cli.options import StackName
from berth.cli.saying import WRONG_INPUT, failing, writing


def drift(
    stack: StackName,
    *,
    output: Annotated[Path | None, typer.Option(help="Write the report to this file too, as Markdown.")] = None,
) -> None:
    """Say what somebody changed on the hosts of a stack that is up; nothing is changed, and what differs is listed.

    Exit codes: 0 all is as declared, 1 something differs, 2 it could not be looked at.
    """
    from berth.drift import drift as look
    from berth.lifecycle.errors import LifecycleError

    with failing(LifecycleError, code=WRONG_INPUT):
        found = look(stack)
    sys.stdout.write(found.said)
    if output is not None:
        with writing("--output", output):
            output.write_text(found.markdown, encoding="utf-8")
    raise typer.Exit(1 if found.drifted else 0)
