"""What a host with the runtime docker gets for its containers: their images, and programs that run in one."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pulumi

from berth.planner.plan import InstancePlan, ReplicaPlan
from berth.provider.docker.container import Container, Mount
from berth.provider.operations.docker_image import DockerImageWant
from berth.provider.operations.file import FileWant
from berth.provider.resources.host import DockerImage, File

if TYPE_CHECKING:
    from components.host import HostBase

INSIDE = 8000
"""The port that every engine listens on inside its container."""

_GIB = 2**30

# The host's own Python where it has one that serves, since a container takes half a second to start.
_PYTHON = """#!/bin/sh
# Written by Berth: a Python for looking after downloaded models, from an engine's image where the host has none.
if python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null; then exec python3 "$@"; fi
mkdir -p -- {cache} || exit 1
docker=docker
docker version > /dev/null 2>&1 || docker='sudo -n docker'
exec $docker run --rm --interactive --label dev.berth.stack={stack} --network host \\
  --security-opt no-new-privileges \\
  --user "$(id -u):$(id -g)" --env HOME=/tmp --env HTTPS_PROXY --env HTTP_PROXY --env NO_PROXY \\
  --mount {mount} --entrypoint python3 {image} "$@"
"""

_RUN = """#!/bin/sh
# Written by Berth: {program} of an image, for looking at files in a folder.
docker=docker
docker version > /dev/null 2>&1 || docker='sudo -n docker'
exec $docker run --rm --interactive --label dev.berth.stack={stack} --network none \\
  --security-opt no-new-privileges \\
  --mount {mount} --entrypoint {program} {image} "$@"
"""


class DockerHost:
    """The images of one host and scripts that use them, each declared once however many ask for it."""

    def __init__(self, host: HostBase) -> None:
        self._host = host
        self._images: dict[str, DockerImage] = {}
        self._files: dict[str, File] = {}

    def image(self, image: str) -> DockerImage:
        """An image on this host."""
        if image not in self._images:
            name = self._host.place.plan.name
            self._images[image] = DockerImage(
                f"{name}-{image}",
                DockerImageWant(host=name, image=image),
                pulumi.ResourceOptions(parent=self._host, depends_on=[*self._host.services, *self._host.runtime_ready]),
            )
        return self._images[image]

    def python(self, image: str, cache: str) -> tuple[str, File]:
        """A Python for looking after the models in the folder `cache`: its path and the file that it is."""
        return self._script("python", _PYTHON, image, cache=shlex.quote(cache), mount=_mount(cache, writable=True))

    def program(self, program: str, image: str, folder: str) -> tuple[str, File]:
        """A program of an image that may read a folder: its path on the host and the file that it is."""
        return self._script(program, _RUN, image, program=shlex.quote(program), mount=_mount(folder))

    def _script(self, name: str, text: str, image: str, **values: str) -> tuple[str, File]:
        place = self._host.place
        content = text.format(image=shlex.quote(image), stack=shlex.quote(place.unit_prefix), **values)
        path = f"{place.workspace}/bin/{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        if path not in self._files:
            self._files[path] = File(
                f"{place.plan.name}-{path.rsplit('/', 1)[1]}",
                FileWant(host=place.plan.name, path=path, content=content, mode="0755"),
                pulumi.ResourceOptions(parent=self._host, depends_on=[self.image(image)]),
            )
        return path, self._files[path]


def container(plan: ReplicaPlan, image: str, folders: list[str]) -> Container:
    """The container of a replica; `folders` hold what it reads, and lie inside where they lie outside."""
    said = plan.instance or InstancePlan()
    return Container(
        image=image,
        address=plan.address,
        port=plan.port,
        inside=INSIDE,
        gpus=plan.cards,
        mounts=tuple(Mount(source=folder, target=folder) for folder in dict.fromkeys(folders)),
        shared_memory=int(said.shared_memory or max(len(plan.cards), 1) * _GIB),
        memory=int(said.memory or 0),
        cpus=said.cpus or 0,
        labels=labels(plan),
    )


def labels(plan: ReplicaPlan) -> Mapping[str, str]:
    """What `docker ps --filter label=…` finds it by."""
    return {
        "dev.berth.model": plan.model,
        "dev.berth.revision": plan.revision,
        "dev.berth.replica": plan.name,
        "dev.berth.engine": f"{plan.engine.name} {plan.engine.version}",
    }


def _mount(folder: str, *, writable: bool = False) -> str:
    return shlex.quote(Mount(source=folder, target=folder, writable=writable).option())
