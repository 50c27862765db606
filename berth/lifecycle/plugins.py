"""The resource plugins that a stack's program asks Pulumi for: none but where it has clusters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import yaml

from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project


def bring(project: Project, stack: str, environ: Mapping[str, str]) -> None:
    """Gets what is not in PULUMI_HOME yet, with progress on stderr.

    Args:
        project: the project.
        stack: the stack's name.
        environ: the environment of its Pulumi.

    Raises:
        LifecycleError: it cannot be had.
    """
    if not _has_clusters(project, stack):
        return
    command = [sys.executable, "-m", "bootstrap", "kubernetes"]
    home = Project.here().root
    done = subprocess.run(command, cwd=home, env=dict(environ), stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise LifecycleError(
            f"stack {stack}: has clusters, must have Pulumi's plugin for Kubernetes; see the lines above"
        )


def _has_clusters(project: Project, stack: str) -> bool:
    """Whether a stack file speaks of clusters; what is wrong in it is said by the program."""
    try:
        data = yaml.safe_load((project.root / "stacks" / f"{stack}.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(data, dict) and bool(data.get("clusters"))
