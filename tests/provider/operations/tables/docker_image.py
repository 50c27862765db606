"""What leads a host to a container image."""

from __future__ import annotations

from berth.provider.operations.docker_image import DockerImage, DockerImageWant
from tests.provider.operations.tables.case import Case, Table, leashed

WANT = DockerImageWant(host="box", image="vllm/vllm-openai:v0.11.0")
ALWAYS = WANT.model_copy(update={"pull": "always"})
PULL = leashed("_PULL", "vllm/vllm-openai:v0.11.0")

TABLE = Table(
    operation=DockerImage(),
    cases=(
        Case(name="missing", want=WANT, have=None, commands=(PULL,)),
        Case(name="there", want=WANT, have=WANT, why="one of that name is there, perhaps loaded by hand"),
        Case(name="there, and to be pulled at every change", want=ALWAYS, have=ALWAYS, commands=(PULL,)),
        Case(name="not wanted any more", want=None, have=WANT, why="it is costly to pull, and others may use it"),
    ),
)
