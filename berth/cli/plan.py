# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth plan`: what fits where, and why."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from berth.cli.options import Profile
from berth.cli.saying import WRONG_INPUT, WrongInput, complain, failing, writing

if TYPE_CHECKING:
    from berth.planner.plan import Plan
    from berth.report.pull_request import Reviewed

FITS, DOES_NOT_FIT = 0, 1
"""Exit codes of a plan: fits, tight and unknown are 0; what does not fit or is refused is 1."""

_FILE_WIDTH = 100  # columns of a plan that is written to a file as text


class Format(StrEnum):
    """How a plan is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    SVG = "svg"


def plan(
    stack: Annotated[
        str | None, typer.Argument(metavar="[STACK]", help="A name in stacks/, or the path of a stack file.")
    ] = None,
    *,
    profile: Profile = None,
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
    against: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With --all as markdown: show what changes beside these stack files."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With --all as markdown: draw each plan there, and show it."),
    ] = None,
) -> None:
    """Show what fits where, with which memory, and why, before anything is touched.

    Needs neither Pulumi nor network nor GPU. With --online it asks the hub; for gated models HF_TOKEN holds the token.

    Exit codes: 0 fits (tight and unknown too), 1 does not fit or is refused, 2 wrong input.
    """
    if every == (stack is not None):
        raise WrongInput(
            "berth plan: " + ("--all plans every stack; name none" if every else "name a stack, or say --all")
        )
    if every and form is Format.SVG:
        raise WrongInput("berth plan: --format svg draws one stack; name it")
    if with_preview and not (every and form is Format.MARKDOWN):
        raise WrongInput("berth plan: --preview adds to the comment; say --all --format markdown with it")
    if (against or pictures) and not (every and form is Format.MARKDOWN):
        raise WrongInput("berth plan: --against and --pictures add to the comment; say --all --format markdown too")
    if against is not None and not against.is_dir():
        raise WrongInput(f"{against}: is no folder, must be one with stack files; give another for --against")
    reviewed = _beside(_review(stack, profile, online=online), against, pictures, profile)
    previewed, failed = _preview(reviewed) if with_preview else (reviewed, False)
    _write(_render(previewed, form, single=not every, to_file=output is not None), output)
    problems = [line for one in reviewed for line in one.problems]
    for line in problems:
        complain(line)
    raise typer.Exit(WRONG_INPUT if problems else max(DOES_NOT_FIT if failed else FITS, *map(_code, reviewed)))


def _review(stack: str | None, profile: str | None, *, online: bool) -> list[Reviewed]:
    """The one stack, or all of them when none is named."""
    from berth import review

    with failing(review.NoSuchStack, code=WRONG_INPUT):
        paths = review.everything() if stack is None else [review.find(stack)]
    reader = review.online() if online else None
    return [review.review(path, profile, reader) for path in paths]


def _beside(
    reviewed: Sequence[Reviewed], before: Path | None, pictures: Path | None, profile: str | None
) -> list[Reviewed]:
    """The same with what they were before, and with a picture of each."""
    from berth.report.svg import to_svg
    from berth.review import against

    found = list(reviewed)
    if before is not None:
        found = [against(one, before, profile) for one in found]
    if pictures is None:
        return found
    drawn = [one for one in found if one.plan is not None and one.plan.cards]
    with writing("--pictures", pictures):
        pictures.mkdir(parents=True, exist_ok=True)
        for one in drawn:
            if one.plan is not None:
                (pictures / f"{one.stack}.svg").write_text(to_svg(one.plan), encoding="utf-8")
    return [replace(one, picture=f"{pictures.name}/{quote(one.stack)}.svg") if one in drawn else one for one in found]


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
            complain(f"{one.stack}: pulumi preview failed; the comment quotes it")
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
    with writing("--output", output):
        output.write_text(text, encoding="utf-8")
