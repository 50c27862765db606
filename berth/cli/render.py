# ruff: noqa: PLC0415 - a command pays for the imports it needs, and for no others
"""`berth render`: what a stack sends to its clusters, as YAML."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from berth.cli.options import Profile, StackFile
from berth.cli.saying import FAILED, WRONG_INPUT, WrongInput, complain, failing, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from berth.kubernetes import Object
    from berth.planner.plan import Plan

_OURS = re.compile(r"\d{3}-[a-z]+-[a-z0-9.-]+\.yaml")
"""The files of an earlier rendering, which this one replaces."""


def render(
    stack: StackFile,
    *,
    profile: Profile = None,
    cluster: Annotated[
        str | None, typer.Option(help="The cluster of the stack file; left out, every one that it has.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write a file for each object into this folder instead of the terminal.")
    ] = None,
) -> None:
    """Write the Kubernetes objects of a stack as YAML, checked against KServe's own definitions; nothing is asked.

    Values of secrets are never in them: placeholders such as ${secret:hf_token} stand in their place.

    Exit codes: 0 they are written, 1 the plan is refused or an object is wrong, 2 wrong input.
    """
    from berth import review
    from berth.kubernetes import objects, problems, to_yaml

    with failing(review.NoSuchStack, code=WRONG_INPUT):
        reviewed = review.review(review.find(stack), profile)
    if reviewed.plan is None:
        raise WrongInput("\n".join(reviewed.problems))
    plan = reviewed.plan
    chosen = _chosen(plan, cluster)
    found = {} if plan.refusals else {name: objects(plan, name) for name in chosen}
    wrong = [line for name, made in found.items() for line in problems(made, plan.clusters[name])]
    if stopping := [*map(str, plan.refusals), *wrong]:
        for line in stopping:
            complain(line)
        raise typer.Exit(FAILED)
    if output is not None:
        _write(found, output)
    else:
        sys.stdout.write("---\n".join(to_yaml(made) for made in found.values()))


def _chosen(plan: Plan, cluster: str | None) -> Sequence[str]:
    known = list(plan.clusters)
    if not known:
        raise WrongInput(f"{plan.stack}: has no clusters, must have one to be rendered; berth plan shows the others")
    if cluster is not None and cluster not in known:
        raise WrongInput(f"{plan.stack}: --cluster is {cluster}, must be one that it has: {', '.join(known)}")
    return known if cluster is None else [cluster]


def _write(found: Mapping[str, Sequence[Object]], folder: Path) -> None:
    """A folder for each cluster, below the one that is named."""
    from berth.kubernetes import file_name, to_yaml

    for name, made in found.items():
        here = folder / name
        with writing("--output", here):
            here.mkdir(parents=True, exist_ok=True)
            if strange := [path.name for path in here.iterdir() if _OURS.fullmatch(path.name) is None]:
                raise WrongInput(f"{here}: holds {strange[0]}, must be empty or rendered before; name another folder")
            for path in here.iterdir():
                path.unlink()
            for number, one in enumerate(made):
                (here / file_name(number, one)).write_text(to_yaml([one]), encoding="utf-8")
        sys.stdout.write(f"{here}: {len(made)} objects\n")
