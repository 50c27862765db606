# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth up`, `berth down` and `berth env`: the way of a whole stack, from a clone alone."""

from __future__ import annotations

import sys

import typer

from berth.cli.options import StackName
from berth.cli.saying import failing


def up(stack: StackName = "dev") -> None:
    """Bring a stack up, get what that needs first, and say how to use it.

    Exit codes: 0 it is up, else that of what failed.
    """
    from berth import lifecycle

    raise typer.Exit(lifecycle.up(stack))


def down(stack: StackName = "dev") -> None:
    """Take down what a stack made on its hosts; downloads and caches stay.

    Exit codes: 0 it is down, else that of what failed.
    """
    from berth import lifecycle

    raise typer.Exit(lifecycle.down(stack))


def env(stack: StackName = "dev") -> None:
    """Print what a shell needs for plain pulumi in this project: eval "$(berth env)"."""
    from berth import lifecycle
    from berth.lifecycle.errors import LifecycleError

    with failing(LifecycleError):
        sys.stdout.write(lifecycle.print_env(stack))
