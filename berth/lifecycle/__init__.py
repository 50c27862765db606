"""A stack's way up and down on this machine: the environment for Pulumi, what a killed run left, the update itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

from berth.lifecycle import halves, locks, pending, plugins
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.pending import Left
from berth.lifecycle.project import DEV, Project
from berth.lifecycle.pulumi import Pulumi, locate
from berth.lifecycle.summary import summary

__all__ = ["down", "print_env", "ready", "up"]


def up(stack: str = DEV, project: Project | None = None) -> int:
    """Bring a stack up from whatever state it is in, and say how to use it.

    Args:
        stack: its name; `stacks/<name>.yaml` describes it.
        project: the project; this package's own when absent.

    Returns:
        0, or the exit status of what failed; that has said why.
    """
    try:
        pulumi = ready(project or Project.here(), stack)
        pulumi.call("stack", "select", "--create")
        _tidy(pulumi)
        code = pulumi.stream("up", "--yes")
        if code == 0:
            _say("\n" + summary(stack, pulumi.outputs(), _random(pulumi.project.root / "stacks" / f"{stack}.yaml")))
    except LifecycleError as error:
        return _fail(error)
    return code


def down(stack: str = DEV, project: Project | None = None) -> int:
    """Destroy what a stack made and forget the stack; its configuration file stays.

    Returns:
        0, or the exit status of what failed; that has said why.
    """
    try:
        pulumi = ready(project or Project.here(), stack)
        if not pulumi.exists():
            _say(f"stack {stack}: is not there; nothing to take down")
            return 0
        left = _tidy(pulumi)
        # A destroy runs the program, which in an empty stack would make the stack's own resource.
        destroy = ["destroy", "--yes", "--skip-preview"]
        code = 0 if left.empty else pulumi.stream(*destroy)
        if code:
            _say(f"stack {stack}: trying again by its state alone, since its stack file may be what is wrong")
            code = pulumi.stream(*destroy, "--run-program=false")
        if code == 0:
            pulumi.call("stack", "rm", "--yes", "--preserve-config")
            _say(f"stack {stack}: is down")
    except LifecycleError as error:
        return _fail(error)
    return code


def print_env(stack: str = DEV, project: Project | None = None) -> str:
    """The shell script that makes plain `pulumi` work in the project, as `.berth/env` holds it.

    Raises:
        LifecycleError: there is no Pulumi CLI, or no plugin that the stack needs, and none can be had.
    """
    project = project or Project.here()
    cli = locate(project)
    plugins.bring(project, stack, project.environment(stack, cli, os.environ))
    return project.source(stack, cli, os.environ)


def ready(project: Project, stack: str) -> Pulumi:
    """Pulumi for a stack that no other run holds and whose state can be read.

    Raises:
        LifecycleError: the stack cannot be, another run holds it, or there is no Pulumi CLI and none can be had.
    """
    project.check(stack, os.environ)
    pulumi = Pulumi.prepare(project, stack)
    state = project.state(pulumi.environ)
    if state is not None:
        locks.release(state, project.name, stack, _say)
        halves.mend(state, project.name, stack, _say)
    return pulumi


def _tidy(pulumi: Pulumi) -> Left:
    """Undo what a killed run left in the state: its unfinished operations."""
    left = pending.clear(pulumi)
    for line in left.lines:
        _say(line)
    return left


def _random(file: Path) -> list[str]:
    """The models of a stack file that have random weights; the update that went well has checked the file."""
    if not file.is_file():
        return []
    models = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("models") or {}
    return [name for name, model in models.items() if "random" in ((model or {}).get("source") or {})]


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def _fail(error: LifecycleError) -> int:
    sys.stderr.write(f"berth: {error}\n")
    return 1
