"""A stack of one model on stand-in engines, on each runtime of a host: what revisions and replacements are shown on."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker_box
import light
import pytest
from project import Done, Project
from standin import install
from traffic import Traffic

from berth.gateway.endpoints import EndpointState, read_endpoints, state
from tests.gateway.conftest import envoy
from tests.machines.docker_fixtures import docker
from tests.machines.engine_image import engine_image, envoy_image

__all__ = ["docker", "environment", "envoy", "place"]

NAME, MODEL = "light", "first"
PROCESSES = "processes"
CONTAINERS = pytest.param("containers", marks=pytest.mark.docker)


@dataclass
class Place(ABC):
    """The stack in a copy of the project; `port` is its gateway's, whose numbers are two above."""

    project: Project
    port: int
    outputs: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    @abstractmethod
    def card(self) -> Path:
        """A folder that stands for a card, where each engine may write."""

    @abstractmethod
    def content(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """The stack file with these settings of its model."""

    @abstractmethod
    def started(self, service: str) -> str:
        """What is another after each start of a service."""

    def write(self, **model: Any) -> None:
        """Writes the stack file."""
        self.project.write(NAME, self.content(model))

    def up(self) -> Done:
        """`pulumi up`, which must succeed."""
        done = self.tried().ok()
        self.outputs = self.project.outputs(NAME)
        return done

    def tried(self) -> Done:
        """`pulumi up`, however it ends."""
        return self.project.up(NAME)

    def unchanged(self) -> None:
        """A preview must find nothing to do."""
        self.project.unchanged(NAME).ok()

    def destroyed(self) -> None:
        """Destroys it, which must leave nothing that runs."""
        self.project.destroy(NAME).ok()
        assert self.project.processes() == {}

    @property
    def url(self) -> str:
        """Where clients ask."""
        return str(self.outputs["url"])

    @property
    def key(self) -> str:
        """What lets a client in."""
        return str(self.outputs["keys"]["default"])

    def traffic(self) -> Traffic:
        """20 requests a second, streams among them."""
        return Traffic(self.url, self.key, MODEL, rate=20, streams=True)

    def file(self, service: str, name: str = "run") -> Path:
        """A file of a service."""
        return self.project.workspace(NAME) / "services" / service / name

    def endpoints(self) -> tuple[EndpointState, tuple[int, ...]]:
        """What the gateway does with requests for the model's main revision, and the ports of the engines."""
        content = json.loads((self.project.workspace(NAME) / f"gateway/endpoints/{MODEL}@main.json").read_text())
        return state(content), tuple(port for _, port in read_endpoints(content)[0])


@dataclass
class Processes(Place):
    """On this machine, under supervisord; `environment` is the stand-in's folder."""

    environment: Path

    @property
    def card(self) -> Path:
        """See `Place`."""
        return self.project.root / "card"

    def content(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """See `Place`."""
        return light.stack(self.port, self.environment, [MODEL], **{MODEL: model})

    def started(self, service: str) -> str:
        """See `Place`."""
        return str(self.project.pid(NAME, service))


@dataclass
class Containers(Place):
    """On this machine's Docker, all of it in containers."""

    box: docker_box.Here

    @property
    def card(self) -> Path:
        """See `Place`; below the folder of the cards' locks, which all engines have."""
        return Path(f"/run/lock/berth-test-card-{self.port}")

    def content(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """See `Place`."""
        content = dict(self.box.content)
        return content | {"models": {MODEL: {**content["models"][MODEL], **model}}}

    def started(self, service: str) -> str:
        """See `Place`."""
        return self.box.inspect(service, "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}")

    def destroyed(self) -> None:
        """See `Place`."""
        super().destroyed()
        assert self.box.containers() == {}


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light engine's folder."""
    return install(tmp_path_factory.mktemp("engine"))


@pytest.fixture(params=[PROCESSES, CONTAINERS])
def place(request: pytest.FixtureRequest, project: Project, ports: Callable[[], int]) -> Iterator[Place]:
    """The stack on each runtime in turn, ready to be brought up; what is not asked for is not made."""
    if request.param == PROCESSES:
        light_one = Processes(project, ports(), request.getfixturevalue("environment"))
        light_one.write()
        project.init(NAME)
        yield light_one
        return
    engine, binary, port = request.getfixturevalue("docker"), request.getfixturevalue("envoy"), ports()
    images = engine_image(engine, release="0.32.0"), envoy_image(engine, binary)
    with docker_box.here(project, docker_box.stack(*images, port, MODEL), NAME, engine) as box:
        made = Containers(project, port, box)
        try:
            yield made
        finally:
            shutil.rmtree(made.card, ignore_errors=True)
