"""What every host of a stack gets before anything runs on it: a folder, and who keeps its processes running."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import pulumi

from berth.engines.random_model import files as random_files
from berth.planner.plan import HostPlan, PackagedEngine, Ssh
from berth.provider.operations.file import FileWant
from berth.provider.operations.hub_model import HubModelWant
from berth.provider.operations.python_environment import PythonEnvironmentWant
from berth.provider.operations.supervisor import SupervisorWant
from berth.provider.operations.workspace import WorkspaceWant
from berth.provider.resources import File, HubModel, PythonEnvironment, Supervisor, Workspace
from components.docker import DockerHost
from components.prerequisites import HostPrerequisites

SUPERVISOR = PackagedEngine(requirements=("supervisor==4.3.0",))
"""supervisor 4.3.0 needs nothing else; used where a host has no systemd."""


@dataclass(frozen=True, kw_only=True)
class HostPlace:
    """Where things go on one host.

    What is relative in a stack file is relative to `folder`: the project's here, the login's home on another machine.
    `home` is what `~` stands for there, `account` the numbers of the login and its group.
    """

    plan: HostPlan
    stack: str
    folder: str
    home: str
    workspace: str
    init: Literal["systemd", "supervisord"]
    account: str

    @property
    def unit_prefix(self) -> str:
        """Starts the names of this stack's systemd units; two clones with a stack of one name stay apart."""
        return f"berth-{self.stack}-{hashlib.sha256(self.workspace.encode()).hexdigest()[:6]}"

    @property
    def supervision(self) -> Mapping[str, Any]:
        """The inputs that every service has for who keeps it running; containers have themselves kept by Docker."""
        if self.plan.runtime == "docker":
            return {"init": "systemd", "unit_prefix": self.unit_prefix}
        if self.init == "systemd":
            return {"init": "systemd", "unit_prefix": self.unit_prefix}
        return {
            "init": "supervisord",
            "supervisor_folder": f"{self.workspace}/supervisor",
            "supervisorctl": f"{self.environment_path(SUPERVISOR)}/bin/supervisorctl",
        }

    def absolute(self, path: str) -> str:
        """A path of the stack file as an absolute one of this host."""
        return absolute(path, folder=self.folder, home=self.home)

    def environment_path(self, package: PackagedEngine) -> str:
        """Where an environment of these packages goes: other packages, another folder."""
        parts = [package.requirements, package.overrides, sorted(package.overlay.items()), package.python]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        name = package.requirements[0].split("=", 1)[0].split(" ", 1)[0]
        return f"{self.workspace}/environments/{name}-{digest}"

    @property
    def pod(self) -> bool:
        """Whether it is another machine without systemd: a container, of which a reset may leave `root` alone."""
        return self.plan.runtime == "process" and self.init == "supervisord" and isinstance(self.plan.connection, Ssh)

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


class HostBase(pulumi.ComponentResource):
    """The workspace of one host, its Python environments, and supervisord where there is no systemd.

    `gpus_ready` is what an engine on a GPU waits for, `runtime_ready` what a container does. Where getting `ready` may
    reboot the host, everything waits. `start` is the script that a pod has to run at its start, empty on other hosts.
    """

    def __init__(
        self,
        name: str,
        place: HostPlace,
        opts: pulumi.ResourceOptions | None = None,
        ready: HostPrerequisites | None = None,
    ) -> None:
        if ready is not None and ready.may_reboot:
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[ready]))
        super().__init__("berth:index:Host", name, None, opts)
        self.place = place
        self.gpus_ready: Sequence[pulumi.Resource] = ready.gpus_ready if ready is not None else ()
        self.runtime_ready: Sequence[pulumi.Resource] = ready.runtime_ready if ready is not None else ()
        self._environments: dict[str, PythonEnvironment] = {}
        self._random_models: dict[str, list[File]] = {}
        self._hub_models: dict[str, HubModel] = {}
        self.docker = DockerHost(self)
        host = place.plan.name
        self.workspace = Workspace(
            f"{name}-workspace",
            WorkspaceWant(host=host, path=place.workspace, unit_prefix=place.unit_prefix),
            pulumi.ResourceOptions(parent=self),
        )
        self.services: list[pulumi.Resource] = [self.workspace]
        self.start = ""
        if place.init == "supervisord" and place.plan.runtime == "process":
            environment = self.environment(SUPERVISOR)
            want = SupervisorWant(
                host=host,
                folder=f"{place.workspace}/supervisor",
                environment=place.environment_path(SUPERVISOR),
            )
            opts = pulumi.ResourceOptions(parent=self, depends_on=[environment])
            self.services.append(Supervisor(f"{name}-supervisor", want, opts))
            self.start = f"{want.folder}/start" if place.pod else ""
        self.register_outputs({"workspace": place.workspace})

    def random_model(self, shape: str) -> tuple[str, list[File]]:
        """The folder of a model of random weights and its files, declared once however many serve it."""
        folder = f"{self.place.workspace}/models/{shape}-random"
        if folder not in self._random_models:
            self._random_models[folder] = [
                File(
                    f"{self.place.plan.name}-{shape}-random-{file}",
                    FileWant(host=self.place.plan.name, path=f"{folder}/{file}", content=content),
                    pulumi.ResourceOptions(parent=self, depends_on=[self.workspace]),
                )
                for file, content in random_files(shape).items()
            ]
        return folder, self._random_models[folder]

    def hub_model(self, want: HubModelWant, token: str | None, needs: Sequence[pulumi.Resource]) -> HubModel:
        """A model of the hub, downloaded once however many serve it; `token` names a secret."""
        name = f"{want.repo}@{want.revision}"
        if name not in self._hub_models:
            self._hub_models[name] = HubModel(
                f"{self.place.plan.name}-{name.replace('/', '-')}",
                want,
                pulumi.ResourceOptions(parent=self, depends_on=list(needs)),
                late={"token": pulumi.Config().require_secret(token)} if token else None,
            )
        return self._hub_models[name]

    def environment(self, package: PackagedEngine) -> PythonEnvironment:
        """The environment of these packages on this host, declared once however many ask for it."""
        path = self.place.environment_path(package)
        if path not in self._environments:
            self._environments[path] = PythonEnvironment(
                f"{self.place.plan.name}-{path.rsplit('/', 1)[1]}",
                PythonEnvironmentWant(
                    host=self.place.plan.name,
                    path=path,
                    python=package.python,
                    requirements=list(package.requirements),
                    overrides=list(package.overrides),
                    overlay=dict(package.overlay),
                    uv=f"{self.place.workspace}/bin/uv",
                    downloads=self.place.downloads,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[self.workspace]),
            )
        return self._environments[path]
