"""What every host of a stack gets before anything runs on it: a folder, and who keeps its processes running."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pulumi

from berth.engines.random_model import files as random_files
from berth.planner.plan import Local, PythonPackages
from berth.provider.operations.bucket_model import BucketModelWant
from berth.provider.operations.file import FileWant
from berth.provider.operations.hub_model import HubModelWant
from berth.provider.operations.python_environment import PythonEnvironmentWant
from berth.provider.operations.supervisor import SupervisorWant
from berth.provider.operations.workspace import WorkspaceWant
from berth.provider.resources.host import BucketModel, File, HubModel, PythonEnvironment, Supervisor, Workspace
from components.docker import DockerHost
from components.place import SUPERVISOR, HostPlace
from components.prerequisites import HostPrerequisites


class HostBase(pulumi.ComponentResource):
    """The workspace of one host, its Python environments, and supervisord where there is no systemd.

    `gpus_ready` is what an engine on a GPU waits for, `runtime_ready` what a container does. Where getting `ready` may
    reboot the host, everything waits. `start` is the script that another machine has to run at its start where
    systemd does not; empty elsewhere.
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
        self._bucket_models: dict[str, BucketModel] = {}
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
            self.start = "" if isinstance(place.plan.connection, Local) else f"{want.folder}/start"
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

    def bucket_model(
        self, want: BucketModelWant, keys: tuple[str, str] | None, needs: Sequence[pulumi.Resource]
    ) -> BucketModel:
        """A model of a bucket, downloaded once however many serve it; `keys` name two secrets."""
        if want.folder not in self._bucket_models:
            config = pulumi.Config()
            named = zip(("access_key", "secret_key"), keys or (), strict=False)
            # m/x and m-x read the same, and two storages may have a bucket of one name.
            digest = hashlib.sha256(want.folder.encode()).hexdigest()[:8]
            self._bucket_models[want.folder] = BucketModel(
                f"{self.place.plan.name}-{want.url.removeprefix('s3://').strip('/').replace('/', '-')}-{digest}",
                want,
                pulumi.ResourceOptions(parent=self, depends_on=list(needs)),
                late={key: config.require_secret(secret) for key, secret in named},
            )
        return self._bucket_models[want.folder]

    def environment(self, packages: PythonPackages) -> PythonEnvironment:
        """The environment of these packages on this host, declared once however many ask for it."""
        path = self.place.environment_path(packages)
        if path not in self._environments:
            self._environments[path] = PythonEnvironment(
                f"{self.place.plan.name}-{path.rsplit('/', 1)[1]}",
                PythonEnvironmentWant(
                    host=self.place.plan.name,
                    path=path,
                    python=packages.python,
                    requirements=list(packages.requirements),
                    overrides=list(packages.overrides),
                    overlay=dict(packages.overlay),
                    uv=f"{self.place.workspace}/bin/uv",
                    downloads=self.place.downloads,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[self.workspace]),
            )
        return self._environments[path]
