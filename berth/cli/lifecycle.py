# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth up`, `berth down` and `berth env`: the way of a whole stack, from a clone alone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from berth.cli.saying import complain

Name = Annotated[str, typer.Argument(metavar="STACK", help="The stack's name: stacks/STACK.yaml describes it.")]


def up(stack: Name = "dev") -> None:
    """Bring a stack up, get what that needs first, and say how to use it.

    Exit codes: 0 it is up, else that of what failed.
    """
    from berth import lifecycle

    raise typer.Exit(lifecycle.up(stack))


def down(stack: Name = "dev") -> None:
    """Take down what a stack made on its hosts; downloads and caches stay.

    Exit codes: 0 it is down, else that of what failed.
    """
    from berth import lifecycle

    raise typer.Exit(lifecycle.down(stack))


def env(stack: Name = "dev") -> None:
    """Print what a shell needs for plain pulumi in this project: eval "$(berth env)"."""
    from berth import lifecycle
    from berth.lifecycle.errors import LifecycleError

    try:
        sys.stdout.write(lifecycle.print_env(stack))
    except LifecycleError as error:
        complain(str(error))
        raise typer.Exit(1) from None
