"""From a name or a path to a planned stack, or to the problems that keep it from being planned."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from berth.facts import HostFacts
from berth.facts.store import Store, age
from berth.planner.notes import remark, warning
from berth.planner.plan import Note
from berth.planner.planning import plan as decide
from berth.report.pull_request import Reviewed
from berth.spec import SpecError, Stack, load
from berth.spec.problems import nearest
from berth.spec.sources import Source

if TYPE_CHECKING:
    from berth.shapes import Reader


_OLD = timedelta(days=30)
"""Machines are upgraded meanwhile."""


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
    facts, notes = _recorded(stack, path)
    if reader is None:
        plan = decide(stack, path.stem, profile, facts=facts)
    else:
        shapes, unread = reader.read(stack)
        plan, notes = decide(stack, path.stem, profile, facts=facts, shapes=shapes), [*notes, *unread]
    return Reviewed(stack=path.stem, plan=replace(plan, notes=(*plan.notes, *notes)))


def against(reviewed: Reviewed, stacks: Path, profile: str | None = None) -> Reviewed:
    """The same with the plan that the stack had before a change.

    Args:
        reviewed: the stack as it is now.
        stacks: the folder of stack files before the change.
        profile: which of the models' shares applies; None takes each file's own.
    """
    path = stacks / f"{reviewed.stack}.yaml"
    before = review(path, profile).plan if path.is_file() else None
    return replace(reviewed, compared=True, before=before)


def _recorded(stack: Stack, path: Path) -> tuple[Mapping[str, HostFacts], Sequence[Note]]:
    """What was recorded of the stack's machines, and a note on each: how old it is, or what is wrong with it."""
    store = Store(path.absolute().parent.parent, path.stem)
    facts, notes = dict[str, HostFacts](), list[Note]()
    for host in stack.hosts:
        problems: list[str] = []
        found = store.shared(host, problems)
        notes += [warning(f"hosts.{host}", problem) for problem in problems]
        if found is None:
            continue
        # Whose the used memory was is not recorded; some of it is the stack's own where it was up.
        facts[host] = found.model_copy(update={"gpus": tuple(gpu.model_copy(update={"used": 0}) for gpu in found.gpus)})
        text = f"is planned as it was recorded {age(found, datetime.now(UTC))} ago; its cards count as free of others"
        old = datetime.now(UTC) - found.gathered > _OLD
        notes.append(warning(f"hosts.{host}", f"{text}; record it again") if old else remark(f"hosts.{host}", text))
    return facts, notes


def _profiles(stack: Stack) -> tuple[str, ...]:
    """The file's own profile, then those that its shares name."""
    shares = [revision.share for model in stack.models.values() for revision in model.revisions.values()]
    named = [name for share in shares if isinstance(share, Mapping) for name in share]
    return tuple(dict.fromkeys([stack.profile, *named]))
