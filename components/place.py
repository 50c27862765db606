"""Where things go on a host: folders, names of units, environments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from berth.planner.plan import HostPlan, PythonPackages, Ssh

SUPERVISOR = PythonPackages(requirements=("supervisor==4.3.0",))
"""supervisor 4.3.0 needs nothing else; used where a host has no systemd."""


@dataclass(frozen=True, kw_only=True)
class HostPlace:
    """Where things go on one host.

    What is relative in a stack file is relative to `folder`: the project's here, the login's home on another machine.
    `home` is what `~` stands for there, `account` the numbers of the login and its group. `guest` says that it is a
    container without systemd.
    """

    plan: HostPlan
    stack: str
    folder: str
    home: str
    workspace: str
    init: Literal["systemd", "supervisord"]
    account: str
    guest: bool = False

    @property
    def unit_prefix(self) -> str:
        """Starts the names of this stack's systemd units; two clones with a stack of one name stay apart."""
        return f"berth-{self.stack}-{hashlib.sha256(self.workspace.encode()).hexdigest()[:6]}"

    @property
    def supervision(self) -> Mapping[str, Any]:
        """The inputs that every service has for who keeps it running; containers have themselves kept by Docker."""
        if self.plan.runtime == "docker" or self.init == "systemd":
            return {"init": "systemd", "unit_prefix": self.unit_prefix}
        return {
            "init": "supervisord",
            "supervisor_folder": f"{self.workspace}/supervisor",
            "supervisorctl": f"{self.environment_path(SUPERVISOR)}/bin/supervisorctl",
        }

    def absolute(self, path: str) -> str:
        """A path of the stack file as an absolute one of this host."""
        return absolute(path, folder=self.folder, home=self.home)

    def environment_path(self, packages: PythonPackages) -> str:
        """Where an environment of these packages goes: other packages, another folder."""
        parts = [packages.requirements, packages.overrides, sorted(packages.overlay.items()), packages.python]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        name = packages.requirements[0].split("=", 1)[0].split(" ", 1)[0]
        return f"{self.workspace}/environments/{name}-{digest}"

    @property
    def pod(self) -> bool:
        """Whether it is a rented container that runs processes: a reset may leave nothing of it but `root`."""
        return self.guest and self.plan.runtime == "process" and isinstance(self.plan.connection, Ssh)

    @property
    def hub_cache(self) -> str:
        """The folder of downloaded models, empty for where huggingface_hub keeps it on that host.

        A container must be told where it is, and what lies elsewhere in a pod may go: there its default is one below
        `root`, shared by all stacks there.
        """
        if self.plan.cache is not None:
            return f"{self.absolute(self.plan.cache)}/hub"
        below = self.plan.runtime == "docker" or self.pod
        return self.absolute(f"{self.plan.root}/huggingface/hub") if below else ""

    def bucket_folder(self, endpoint: str, url: str) -> str:
        """The folder of a model of a bucket, shared by all stacks there, beside that of downloaded models."""
        bucket, _, folder = url.removeprefix("s3://").partition("/")
        below = f"s3/{endpoint.partition('://')[2].strip('/').replace(':', '-')}/{bucket}/{folder.strip('/')}"
        if self.plan.cache is not None:
            return f"{self.absolute(self.plan.cache)}/{below}".rstrip("/")
        kept = self.plan.root if self.plan.runtime == "docker" or self.pod else "~/.cache/berth"
        return self.absolute(f"{kept}/{below}")

    @property
    def downloads(self) -> str:
        """The folder of what uv downloads where the home is on another disk, shared by all stacks there."""
        return self.absolute(f"{self.plan.root}/uv")

    @property
    def variables(self) -> Mapping[str, str]:
        """What every engine there has in its environment: in a pod, what it compiles is kept below `root` too."""
        if not self.pod:
            return {}
        cache = self.absolute(f"{self.plan.root}/cache")
        return {"XDG_CACHE_HOME": cache, "TRITON_HOME": cache, "FLASHINFER_WORKSPACE_BASE": cache}

    def service_paths(self, name: str) -> Mapping[str, str]:
        """The folder and the log of a service."""
        return {"folder": f"{self.workspace}/services/{name}", "log": f"{self.workspace}/logs/{name}.log"}


def absolute(path: str, *, folder: str, home: str) -> str:
    """A path with `~` for `home`, and a relative one below `folder`."""
    if path == "~" or path.startswith("~/"):
        path = f"{home}/{path[2:]}"
    return str(PurePosixPath(folder, path))
