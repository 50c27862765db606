"""What a stack puts on a host: folders, files, environments, images, models, processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from berth.provider.resources.resource import Late, Resource

if TYPE_CHECKING:  # a program of one part of a stack does not wait for the operations of all others
    from berth.provider.operations.bucket_model import BucketModelWant
    from berth.provider.operations.directory import DirectoryWant
    from berth.provider.operations.docker_image import DockerImageWant
    from berth.provider.operations.file import FileWant
    from berth.provider.operations.hub_model import HubModelWant
    from berth.provider.operations.process import ProcessWant
    from berth.provider.operations.python_environment import PythonEnvironmentWant
    from berth.provider.operations.ready import ReadyWant
    from berth.provider.operations.supervisor import SupervisorWant
    from berth.provider.operations.workspace import WorkspaceWant


class Workspace(Resource["WorkspaceWant"]):
    """A stack's folder on a host; see `WorkspaceWant`."""

    kind = "berth:host:Workspace"


class Directory(Resource["DirectoryWant"]):
    """A folder; see `DirectoryWant`."""

    kind = "berth:host:Directory"


class File(Resource["FileWant"]):
    """A file; see `FileWant`."""

    kind = "berth:host:File"

    def __init__(
        self, name: str, want: FileWant, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        content = (late or {}).get("content", want.content)
        known = {"content": pulumi.Output.secret(content)} if want.sensitive else {}
        super().__init__(name, want, opts, {**(late or {}), **known})


class PythonEnvironment(Resource["PythonEnvironmentWant"]):
    """A Python environment; see `PythonEnvironmentWant`."""

    kind = "berth:host:PythonEnvironment"


class HubModel(Resource["HubModelWant"]):
    """A model of the hub in the host's cache; see `HubModelWant`. `path` is the folder that an engine is given."""

    kind = "berth:model:HubModel"
    path: pulumi.Output[str]
    commit: pulumi.Output[str]


class BucketModel(Resource["BucketModelWant"]):
    """A model of a bucket on the host; see `BucketModelWant`. `path` is the folder that an engine is given."""

    kind = "berth:model:BucketModel"
    path: pulumi.Output[str]


class DockerImage(Resource["DockerImageWant"]):
    """A container image; see `DockerImageWant`. `content` is what containers are made of."""

    kind = "berth:docker:Image"
    content: pulumi.Output[str]
    digest: pulumi.Output[str]


class Supervisor(Resource["SupervisorWant"]):
    """A supervisord; see `SupervisorWant`."""

    kind = "berth:host:Supervisor"


class Process(Resource["ProcessWant"]):
    """A long-running process; see `ProcessWant`."""

    kind = "berth:host:Process"


class Ready(Resource["ReadyWant"]):
    """Something that answers over HTTP; see `ReadyWant`."""

    kind = "berth:host:Ready"
