"""From a name or a path to a planned stack, or to the problems that keep it from being planned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from berth.planner.planning import plan as decide
from berth.report.pull_request import Reviewed
from berth.spec import SpecError, Stack, load
from berth.spec.problems import nearest
from berth.spec.sources import Source

if TYPE_CHECKING:
    from berth.shapes import Reader


class NoSuchStack(Exception):
    """No stack file is meant by what the user named; the message says what there is."""


def folder() -> Path:
    """The stack files: those of the current folder, else of the project that this package belongs to."""
    here = Path("stacks")
    return here if here.is_dir() else Path(__file__).parents[1] / "stacks"


def find(stack: str) -> Path:
    """The file of a stack that is given by its name or as a path.

    Raises:
        NoSuchStack: no file has the name; a path is taken as it is.
    """
    if "/" in stack or stack.endswith((".yaml", ".yml")):
        return Path(stack)
    known = {path.stem: path for path in sorted(folder().glob("*.yaml"))}
    if stack in known:
        return known[stack]
    near = nearest(stack, known)
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none'}"
    raise NoSuchStack(f"{stack or 'the name'}: is no stack in {folder()}, must be one or a stack file's path; {hint}")


def everything() -> list[Path]:
    """All stack files, by name.

    Raises:
        NoSuchStack: there are none.
    """
    paths = sorted(folder().glob("*.yaml"))
    if not paths:
        raise NoSuchStack(f"{folder()}: has no stack files, must have at least one; run in the project's folder")
    return paths


def online() -> Reader:
    """Reads models where they lie; for gated ones with the token in the environment's HF_TOKEN.

    A stack file that names an endpoint of its own gets no token: with the file of a pull request it would go anywhere.
    """
    from berth.shapes import Reader  # noqa: PLC0415 - a plan without it needs none of what it imports

    def token(source: Source) -> str | None:
        return os.environ.get("HF_TOKEN") if source.token is not None and source.endpoint is None else None

    return Reader(base=folder().absolute().parent, token=token)


def review(path: Path, profile: str | None = None, reader: Reader | None = None) -> Reviewed:
    """One stack file, planned as far as it can be.

    Args:
        path: the stack file.
        profile: which of the models' shares applies; None takes the file's own.
        reader: reads the models themselves; None takes what the catalogue knows of them, and asks nobody.
    """
    try:
        stack = load(path)
    except SpecError as error:
        return Reviewed(stack=path.stem, problems=tuple(str(error).splitlines()))
    if profile is not None and profile not in (known := _profiles(stack)):
        problem = f"{path}: --profile is {profile}, must be one that the file names: {', '.join(known)}"
        return Reviewed(stack=path.stem, problems=(problem,))
    if reader is None:
        return Reviewed(stack=path.stem, plan=decide(stack, path.stem, profile))
    shapes, unread = reader.read(stack)
    plan = decide(stack, path.stem, profile, shapes=shapes)
    return Reviewed(stack=path.stem, plan=replace(plan, notes=(*plan.notes, *unread)))


def _profiles(stack: Stack) -> tuple[str, ...]:
    """The file's own profile, then those that its shares name."""
    shares = [revision.share for model in stack.models.values() for revision in model.revisions.values()]
    named = [name for share in shares if isinstance(share, Mapping) for name in share]
    return tuple(dict.fromkeys([stack.profile, *named]))
