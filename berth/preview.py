"""What `pulumi preview` says of a stack that nobody has brought up, for a pull request: no machine is asked.

It runs in a copy of the project with a state of its own, so that no file, no state and no stack of the caller changes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import DEV, Project
from berth.lifecycle.pulumi import Pulumi, locate
from berth.planner.plan import Local, Plan
from berth.report.view import stops

_LIMIT_S = 300.0  # a preview of a stack takes seconds


def possible(plan: Plan) -> bool:
    """Whether a preview can say more than the plan: everything in it is built, and lies on the machine that runs it."""
    here = all(isinstance(host.connection, Local) and host.runtime == "process" for host in plan.hosts.values())
    return here and not plan.clusters and not plan.unbuilt and not stops(plan)


def preview(stack: str, project: Project | None = None) -> tuple[bool, str]:
    """Whether the preview of a new stack of this name succeeds, and what it prints.

    Raises:
        LifecycleError: there is no Pulumi CLI and none can be had.
    """
    project = project or Project.here()
    with _copy(project) as copy:
        copy.open()
        environ = {
            **os.environ,
            "BERTH_PROJECT": str(project.root),
        }  # a backend of the caller's own shell is not taken over
        environ.pop("PULUMI_BACKEND_URL", None)
        if stack != DEV:
            environ.setdefault("PULUMI_CONFIG_PASSPHRASE", "preview")  # encrypts a state that is thrown away
        pulumi = Pulumi(copy, stack, copy.environment(stack, locate(project), environ))
        try:
            pulumi.call("stack", "select", "--create")
        except LifecycleError as error:
            return False, str(error)
        return run(pulumi, "--refresh=false")


def run(pulumi: Pulumi, *options: str) -> tuple[bool, str]:
    """Whether a preview with these options succeeds, and what it prints."""
    command = ["pulumi", "preview", *options, "--non-interactive", "--color", "never", "--stack", pulumi.stack]
    try:
        done = subprocess.run(
            command, cwd=pulumi.project.root, env=pulumi.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=_LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"pulumi preview: did not end within {_LIMIT_S:.0f} s"
    return done.returncode == 0, done.stdout.replace(str(pulumi.project.root), ".")


@contextmanager
def _copy(project: Project) -> Iterator[Project]:
    """The project's files as links, its stack configurations as copies, since Pulumi writes into those."""
    with TemporaryDirectory(prefix="berth-preview-") as folder:
        root = Path(folder)
        for item in project.root.iterdir():
            if item.name.startswith("Pulumi.") and item.name != "Pulumi.yaml":
                (root / item.name).write_bytes(item.read_bytes())
            elif item.name not in {".berth", ".git"}:
                (root / item.name).symlink_to(item)
        yield Project(root)
