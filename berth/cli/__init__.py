"""The `berth` command: what a stack file would do, and the way up and down of a stack on this machine."""

from __future__ import annotations

import sys

import typer

from berth.cli import doctor, drift, hosts, importing, lifecycle, plan, render
from berth.cli.saying import WRONG_INPUT, WrongInput, complain

app = typer.Typer(
    name="berth",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # their boxes show values of variables, which may be secret
)


@app.callback()
def berth() -> None:
    """Places language models on GPUs as declared in one YAML file."""


def schema() -> None:
    """Print the JSON Schema of stack files, from which editors complete and explain keys."""
    from berth.spec.schema import text  # noqa: PLC0415 - as in the other commands: each pays for its own imports

    sys.stdout.write(text())


for command in (
    plan.plan,
    lifecycle.up,
    lifecycle.down,
    lifecycle.env,
    doctor.doctor,
    drift.drift,
    hosts.hostkey,
    hosts.facts,
    hosts.forget,
    render.render,
    schema,
):
    app.command()(command)
app.command("import")(importing.bring_in)


def main() -> None:
    """The entry point: runs a command, and says the user's mistakes in one line each, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr] # a terminal that lacks a letter shows the rest
    try:
        app()
    except WrongInput as wrong:
        complain(str(wrong))
        sys.exit(WRONG_INPUT)
