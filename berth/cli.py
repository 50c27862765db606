"""The `berth` command: what a stack file would do, without touching anything.

Imports wait until a command needs them, so that `berth --help` and a mistyped option answer at once.
"""

# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from berth.planner.plan import Plan
    from berth.report.pull_request import Reviewed
    from berth.spec import Stack

FITS, DOES_NOT_FIT, WRONG_INPUT = 0, 1, 2
"""Exit codes: fits, tight and unknown are 0; a plan that does not fit or is refused is 1."""

_FILE_WIDTH = 100  # columns of a plan that is written to a file as text

app = typer.Typer(
    name="berth",
    help="Places language models on GPUs as declared in one YAML file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its boxes are wider than a terminal and show values of variables
    rich_markup_mode="rich",
)


class Format(StrEnum):
    """How a plan is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    SVG = "svg"


class _Wrong(Exception):
    """The user's input cannot be used; one line per problem."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines


@app.callback()
def berth() -> None:
    """Places language models on GPUs as declared in one YAML file."""


@app.command()
def plan(
    stack: Annotated[str | None, typer.Argument(help="A name in stacks/, or the path of a stack file.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Which of the models' shares applies; left out, the stack file's own.")
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="markdown and svg are for pull requests and documents, json for programs."),
    ] = Format.TEXT,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Plan every file in stacks/; as markdown, one comment for a pull request.")
    ] = False,
) -> None:
    """Show what fits where, with which memory, and why, before anything is touched.

    Needs neither Pulumi nor network nor GPU.

    Exit codes: 0 fits (tight and unknown too), 1 does not fit or is refused, 2 wrong input.
    """
    if every == (stack is not None):
        raise _Wrong("berth plan: " + ("--all plans every stack, name none" if every else "name a stack, or say --all"))
    if every and form is Format.SVG:
        raise _Wrong("berth plan: --format svg draws one stack, name it")
    paths = _all() if every else [_find(stack or "")]
    reviewed = [_review(path, profile) for path in paths]
    _write(_render(reviewed, form, single=not every, to_file=output is not None), output)
    problems = [line for one in reviewed for line in one.problems]
    for line in problems:
        _complain(line)
    raise typer.Exit(WRONG_INPUT if problems else max(map(_code, reviewed), default=FITS))


def _review(path: Path, profile: str | None) -> Reviewed:
    from berth.planner.planning import plan as decide
    from berth.report.pull_request import Reviewed
    from berth.spec import SpecError, load

    try:
        stack = load(path)
    except SpecError as error:
        return Reviewed(stack=path.stem, problems=tuple(str(error).splitlines()))
    if profile is not None and profile not in (known := _profiles(stack)):
        problem = f"{path}: --profile is {profile}, must be one that the file names: {', '.join(known)}"
        return Reviewed(stack=path.stem, problems=(problem,))
    return Reviewed(stack=path.stem, plan=decide(stack, path.stem, profile))


def _profiles(stack: Stack) -> tuple[str, ...]:
    """The file's own profile, then those that its shares name."""
    shares = [revision.share for model in stack.models.values() for revision in model.revisions.values()]
    named = [name for share in shares if isinstance(share, Mapping) for name in share]
    return tuple(dict.fromkeys([stack.profile, *named]))


def _code(reviewed: Reviewed) -> int:
    from berth.report.view import stops

    return DOES_NOT_FIT if reviewed.plan and stops(reviewed.plan) else FITS


def _render(reviewed: Sequence[Reviewed], form: Format, *, single: bool, to_file: bool) -> str | None:
    """The whole output; None where there is nothing to write."""
    plans = [one.plan for one in reviewed if one.plan]
    if single and not plans:
        return None
    match form:
        case Format.TEXT:
            return _text(plans, to_file=to_file)
        case Format.MARKDOWN:
            from berth.report.markdown import to_markdown
            from berth.report.pull_request import comment

            return to_markdown(plans[0]) if single else comment(reviewed)
        case Format.JSON:
            from berth.report.document import to_json, to_json_list

            return (to_json(plans[0]) if single else to_json_list(plans)) + "\n"
        case Format.SVG:
            from berth.report.svg import to_svg

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


def _folder() -> Path:
    """The project's stack files: of the current folder, else of the project that this command belongs to."""
    here = Path("stacks")
    return here if here.is_dir() else Path(__file__).parents[1] / "stacks"


def _all() -> list[Path]:
    paths = sorted(_folder().glob("*.yaml"))
    if not paths:
        raise _Wrong(f"{_folder()}: has no stack files, must have at least one; run in the project's folder")
    return paths


def _find(stack: str) -> Path:
    """The file of a stack that is given by name or path.

    Raises:
        _Wrong: there is none; names what is near.
    """
    if "/" in stack or stack.endswith((".yaml", ".yml")):
        return Path(stack)
    from berth.spec.problems import nearest

    known = {path.stem: path for path in sorted(_folder().glob("*.yaml"))}
    if stack in known:
        return known[stack]
    near = nearest(stack, known)
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none'}"
    raise _Wrong(f"{stack or 'the name'}: is no stack in {_folder()}, must be one or the path of a stack file; {hint}")


def _complain(line: str) -> None:
    from berth.report.view import clean

    typer.secho(clean(line), err=True, fg=typer.colors.RED)


def main() -> None:
    """The entry point: runs a command, and says the user's mistakes in one line each, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a name still shows the plan
    try:
        app()
    except _Wrong as wrong:
        for line in wrong.lines:
            _complain(line)
        sys.exit(WRONG_INPUT)


if __name__ == "__main__":
    main()
