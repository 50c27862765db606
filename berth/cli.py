# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""The `berth` command: what a stack file would do, and the way up and down of a stack on this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from berth.planner.plan import Plan
    from berth.report.pull_request import Reviewed

FITS, DOES_NOT_FIT, WRONG_INPUT = 0, 1, 2
"""Exit codes of a plan: fits, tight and unknown are 0; what does not fit or is refused is 1."""

_FILE_WIDTH = 100  # columns of a plan that is written to a file as text

app = typer.Typer(
    name="berth",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # their boxes show values of variables, which may be secret
)


class Format(StrEnum):
    """How a plan is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    SVG = "svg"


class _Wrong(Exception):
    """The user's input cannot be used; the message is one line."""


Name = Annotated[str, typer.Argument(metavar="STACK", help="The stack's name: stacks/STACK.yaml describes it.")]


@app.callback()
def berth() -> None:
    """Places language models on GPUs as declared in one YAML file."""


@app.command()
def plan(
    stack: Annotated[
        str | None, typer.Argument(metavar="[STACK]", help="A name in stacks/, or the path of a stack file.")
    ] = None,
    *,
    profile: Annotated[
        str | None, typer.Option(help="Which of the models' shares applies; left out, the stack file's own.")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="json is for programs, the others are for people.")
    ] = Format.TEXT,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Plan every file in stacks/; as markdown, one comment for a pull request.")
    ] = False,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Read the models' own sizes from the hub and from folders, as pulumi preview does."
        ),
    ] = False,
    with_preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="With --all as markdown: also ask Pulumi for a preview where no host is needed."
        ),
    ] = False,
) -> None:
    """Show what fits where, with which memory, and why, before anything is touched.

    Needs neither Pulumi nor network nor GPU. With --online it asks the hub; for gated models HF_TOKEN holds the token.

    Exit codes: 0 fits (tight and unknown too), 1 does not fit or is refused, 2 wrong input.
    """
    if every == (stack is not None):
        raise _Wrong("berth plan: " + ("--all plans every stack; name none" if every else "name a stack, or say --all"))
    if every and form is Format.SVG:
        raise _Wrong("berth plan: --format svg draws one stack; name it")
    if with_preview and not (every and form is Format.MARKDOWN):
        raise _Wrong("berth plan: --preview adds to the comment; say --all --format markdown with it")
    reviewed = _review(stack, profile, online=online)
    previewed, failed = _preview(reviewed) if with_preview else (reviewed, False)
    _write(_render(previewed, form, single=not every, to_file=output is not None), output)
    problems = [line for one in reviewed for line in one.problems]
    for line in problems:
        _complain(line)
    raise typer.Exit(WRONG_INPUT if problems else max(DOES_NOT_FIT if failed else FITS, *map(_code, reviewed)))


@app.command()
def up(stack: Name = "dev") -> None:
    """Bring a stack up, get what that needs first, and say how to use it.

    Exit codes: 0 it is up, else that of what failed.
    """
    from berth import lifecycle

    raise typer.Exit(lifecycle.up(stack))


@app.command()
def down(stack: Name = "dev") -> None:
    """Take down what a stack made on its hosts; downloads and caches stay.

    Exit codes: 0 it is down, else that of what failed.
    """
    from berth import lifecycle

    raise typer.Exit(lifecycle.down(stack))


@app.command()
def env(stack: Name = "dev") -> None:
    """Print what a shell needs for plain pulumi in this project: eval "$(berth env)"."""
    from berth import lifecycle
    from berth.lifecycle.errors import LifecycleError

    try:
        sys.stdout.write(lifecycle.print_env(stack))
    except LifecycleError as error:
        _complain(str(error))
        raise typer.Exit(1) from None


class Answer(StrEnum):
    """How a diagnosis is written."""

    TEXT = "text"
    JSON = "json"


@app.command()
def doctor(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="A name in stacks/, or the path of a stack file.")],
    *,
    profile: Annotated[
        str | None, typer.Option(help="Which of the models' shares applies; left out, the stack file's own.")
    ] = None,
    form: Annotated[Answer, typer.Option("--format", help="json is for programs.")] = Answer.TEXT,
) -> None:
    """Look at every host of a stack, and say what is well, what is not and what to do; nothing is changed.

    Exit codes: 0 all is ok, 1 there are warnings or what could not be seen, 2 something fails or the input is wrong.
    """
    from berth import doctor as doctoring
    from berth import review
    from berth.examination import examine
    from berth.spec import SpecError

    try:
        found = examine(review.find(stack), profile)
    except (review.NoSuchStack, SpecError) as error:
        raise _Wrong(str(error)) from None
    if form is Answer.JSON:
        sys.stdout.write(doctoring.to_json(found) + "\n")
    else:
        colours = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
        for state, line in doctoring.lines(found):
            typer.secho(line, fg=colours.get(str(state)), bold=state is None)
    raise typer.Exit(found.code)


@app.command()
def hostkey(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="A machine's name or address, or its alias in ~/.ssh/config.")
    ],
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Its SSH port; left out, 22 or the alias's own.")
    ] = None,
    proxy_jump: Annotated[
        str | None, typer.Option(metavar="USER@HOST:PORT", help="A machine to go through, as in the stack file.")
    ] = None,
) -> None:
    """Show a machine's SSH host key, to compare and to pin in the stack file; nothing is logged in to.

    Exit codes: 0 it is shown, 1 the machine does not answer.
    """
    import asyncio

    from berth.provider.connection.hostkey import fetch
    from berth.provider.errors import ProviderError

    try:
        key = asyncio.run(fetch(host, port=port, proxy_jump=proxy_jump))
    except ProviderError as error:
        _complain(str(error))
        raise typer.Exit(1) from None
    sys.stdout.write(key.text(host))


@app.command()
def facts(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host of a stack file, or a machine as USER@HOST.")],
    *,
    stack: Annotated[
        str | None, typer.Option(help="The stack whose host it is; left out, the one whose file has it.")
    ] = None,
    host_key: Annotated[
        str | None, typer.Option(help="For USER@HOST: its public key, as `berth hostkey` prints it.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="For USER@HOST: its SSH port.")] = 22,
    key_file: Annotated[Path | None, typer.Option(help="For USER@HOST: the private key to log in with.")] = None,
    name: Annotated[str, typer.Option(help="For USER@HOST: what the file is called; left out, its address.")] = "",
    show: Annotated[bool, typer.Option("--show", help="Print what would be recorded, and write nothing.")] = False,
) -> None:
    """Record what a machine is in stacks/facts/STACK/HOST.json, for plans without access to it.

    Only looks, with the rights that its login has. Names, addresses and secrets are taken out; look through the file
    before you commit it.

    Exit codes: 0 it is recorded, 1 the machine does not answer, 2 wrong input.
    """
    from berth.lifecycle.errors import LifecycleError
    from berth.provider.errors import ProviderError
    from berth.record import CannotRecord, of_machine, of_stack

    user, at, address = host.rpartition("@")
    given = {"host_key": host_key, "port": port, "key_file": None if key_file is None else str(key_file.resolve())}
    if at and stack is None and not show:
        raise _Wrong(f"{host}: its stack is not said, must be; say --stack NAME, or --show to print it alone")
    try:
        recording = of_machine(user, address, name, given, stack=stack or "") if at else of_stack(host, stack)
        if show:
            sys.stdout.write(recording.text)
            return
        recording.write()
    except CannotRecord as error:
        raise _Wrong(str(error)) from None
    except (LifecycleError, ProviderError) as error:
        _complain(str(error))
        raise typer.Exit(1) from None
    sys.stdout.write(f"{recording.path.name}: {recording.summary}\n")
    for what, why in recording.facts.unread.items():
        sys.stdout.write(f"not read: {what}: {why}\n")
    sys.stdout.write(f"Look through {recording.path} before you commit it.\n")


@app.command()
def forget(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The name that the stack file had for it.")],
    *,
    stack: Annotated[str, typer.Option(help="The stack whose state still knows the host.")] = "dev",
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; needed without a terminal, where nobody can answer.")
    ] = False,
) -> None:
    """Drop from a stack's state what lies on a host that is gone; nothing is asked of the host or removed there.

    The host must not be in the stack file any more.

    Exit codes: 0 it is forgotten, 1 it is not.
    """
    from berth.forget import forgetting
    from berth.lifecycle.errors import LifecycleError

    try:
        found = forgetting(host, stack)
        if not found.dropped:
            sys.stdout.write(f"stack {stack}: its state knows nothing of host {host}\n")
            return
        sys.stdout.write(f"stack {stack}: these are dropped from its state; what runs on {host} stays there:\n")
        sys.stdout.write("\n".join(found.lines) + "\n")
        if not yes and not sys.stdin.isatty():
            _complain("nobody can be asked without a terminal; say --yes if they are to be dropped")
            raise typer.Exit(1)
        if not yes:
            typer.confirm(f"Forget {host}?", abort=True)
        found.apply()
    except LifecycleError as error:
        _complain(str(error))
        raise typer.Exit(1) from None
    sys.stdout.write(f"stack {stack}: forgot host {host}\n")


@app.command()
def schema() -> None:
    """Print the JSON Schema of stack files, from which editors complete and explain keys."""
    from berth.spec.schema import text

    sys.stdout.write(text())


def _review(stack: str | None, profile: str | None, *, online: bool) -> list[Reviewed]:
    """The one stack, or all of them when none is named."""
    from berth import review

    try:
        paths = review.everything() if stack is None else [review.find(stack)]
    except review.NoSuchStack as error:
        raise _Wrong(str(error)) from None
    reader = review.online() if online else None
    return [review.review(path, profile, reader) for path in paths]


def _code(reviewed: Reviewed) -> int:
    from berth.report.view import stops

    return DOES_NOT_FIT if reviewed.plan and stops(reviewed.plan) else FITS


def _preview(reviewed: Sequence[Reviewed]) -> tuple[list[Reviewed], bool]:
    """The same with Pulumi's preview where one is possible, and whether any failed."""
    from berth.lifecycle.errors import LifecycleError
    from berth.preview import possible, preview

    found, failed = [], False
    for one in reviewed:
        if one.plan is None or not possible(one.plan):
            found.append(one)
            continue
        try:
            good, text = preview(one.stack)
        except LifecycleError as error:
            good, text = False, str(error)
        failed |= not good
        found.append(replace(one, preview=text))
        if not good:
            _complain(f"{one.stack}: pulumi preview failed; the comment quotes it")
    return found, failed


def _render(reviewed: Sequence[Reviewed], form: Format, *, single: bool, to_file: bool) -> str | None:
    """The whole output; None where there is nothing to write."""
    from berth.report.document import to_json, to_json_list
    from berth.report.markdown import to_markdown
    from berth.report.pull_request import comment
    from berth.report.svg import to_svg

    plans = [one.plan for one in reviewed if one.plan]
    if single and not plans:
        return None
    match form:
        case Format.TEXT:
            return _text(plans, to_file=to_file)
        case Format.MARKDOWN:
            return to_markdown(plans[0]) if single else comment(reviewed)
        case Format.JSON:
            return (to_json(plans[0]) if single else to_json_list(plans)) + "\n"
        case Format.SVG:
            return to_svg(plans[0])


def _text(plans: Sequence[Plan], *, to_file: bool) -> str:
    from rich.console import Console

    from berth.report.terminal import show

    # Captured and written at the end like every other format; colours and width are still those of the terminal.
    console = Console(width=_FILE_WIDTH, color_system=None) if to_file else Console()
    with console.capture() as captured:
        for number, one in enumerate(plans):
            if number:
                console.print()
            show(one, console)
    return captured.get()


def _write(text: str | None, output: Path | None) -> None:
    if text is None:
        return
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _Wrong(f"{output}: cannot be written ({error.strerror}); name a file in a folder that exists") from None


def _complain(line: str) -> None:
    from berth.report.view import clean

    typer.secho(clean(line), err=True, fg=typer.colors.RED)


def main() -> None:
    """The entry point: runs a command, and says the user's mistakes in one line each, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr] # a terminal that lacks a letter shows the rest
    try:
        app()
    except _Wrong as wrong:
        _complain(str(wrong))
        sys.exit(WRONG_INPUT)


if __name__ == "__main__":
    main()
