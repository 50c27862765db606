"""A stack whose engines run in containers, on this machine's Docker or on a test machine's, as its tests use it."""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from project import Done, Project

from tests.machines.engine import Engine


@dataclass
class Box(ABC):
    """The stack in a copy of the project."""

    project: Project
    content: dict[str, Any]
    name: str
    outputs: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    @abstractmethod
    def door(self) -> str:
        """Where its gateway is, without a path."""

    @abstractmethod
    def docker(self, *arguments: str) -> str:
        """What a docker command on its host says; it must succeed."""

    @abstractmethod
    def logs(self, service: str) -> str:
        """All that a container has written."""

    @property
    def key(self) -> str:
        """What lets a client in."""
        return str(self.outputs["keys"]["default"])

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends."""
        return {"Authorization": f"Bearer {self.key}"}

    def init(self) -> None:
        """Makes the stack in Pulumi's backend."""
        self.write()
        self.project.init(self.name)

    def write(self) -> None:
        """Writes the stack file."""
        self.project.write(self.name, self.content)

    def tried(self, *arguments: str) -> Done:
        """`pulumi up`, however it ends."""
        return self.project.up(self.name, *arguments)

    def up(self, *arguments: str) -> str:
        """`pulumi up`, which must succeed."""
        done = self.tried(*arguments).ok()
        self.outputs = self.project.outputs(self.name)
        return done.output

    def destroyed(self) -> None:
        """Destroys it, which must leave no container."""
        self.project.destroy(self.name).ok()
        assert self.containers() == {}

    def containers(self) -> dict[str, str]:
        """This stack's containers by what they were made for, with their ids."""
        form = '{{.Label "dev.berth.service"}} {{.ID}}'
        listed = self.docker("ps", "--all", "--filter", "label=dev.berth.stack", "--format", form).splitlines()
        mine = (line.split() for line in listed if line.startswith(f"berth-{self.name}-"))
        return {re.sub(rf"^berth-{self.name}-[0-9a-f]{{6}}-", "", made_for): one for made_for, one in mine}

    def inspect(self, service: str, form: str) -> str:
        """What Docker says of a container."""
        return self.docker("container", "inspect", "--format", form, self.containers()[service])

    def container(self, service: str) -> str:
        """The name of a container."""
        return self.inspect(service, "{{.Name}}").removeprefix("/")

    def remove_all(self) -> None:
        """For the end of a test that failed."""
        for one in self.containers().values():
            self.docker("rm", "--force", one)

    def ask(self, model: str, prefix: str = "", **more: Any) -> requests.Response:
        """One completion through the gateway."""
        return requests.post(
            f"{self.door}{prefix}/v1/completions",
            json={"model": model, "prompt": "안녕하세요", "max_tokens": 2, **more},
            headers=self.headers,
            timeout=60,
        )

    def status(self, path: str = "/v1/models") -> int:
        """What a stranger gets there; 0 without an answer."""
        try:
            return requests.get(f"{self.door}{path}", timeout=5).status_code
        except requests.ConnectionError:
            return 0

    def profiled(self, services: Sequence[str]) -> int:
        """How many times engines have profiled the memory of their card; fails if two ever did at once."""
        spans = sorted(
            (float(begin), float(end))
            for service in services
            for log in [self.logs(service)]
            for begin, end in zip(
                re.findall(r"profiling begin (\S+)", log), re.findall(r"profiling end (\S+)", log), strict=True
            )
        )
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans)), spans
        return len(spans)


@dataclass
class Here(Box):
    """On this machine, whose Docker its tests share."""

    engine: Engine

    @property
    def door(self) -> str:
        """See `Box`."""
        return f"http://127.0.0.1:{self.content['gateway']['port']}"

    def docker(self, *arguments: str) -> str:
        """See `Box`."""
        return self.engine.out(*arguments)

    def logs(self, service: str) -> str:
        """See `Box`."""
        done = self.engine.run("logs", self.containers()[service])
        return (done.stdout + done.stderr).decode()


@contextmanager
def here(project: Project, content: dict[str, Any], name: str, docker: Engine) -> Iterator[Here]:
    """A stack of this machine's Docker, ready to be brought up; what is left of it at the end is removed."""
    made = Here(project, content, name, docker)
    made.project.extra["DOCKER_HOST"] = docker.host
    made.init()
    try:
        yield made
    finally:
        made.remove_all()


def stack(image: str, envoy: str, ports: int, *models: str, **changes: dict[str, Any]) -> dict[str, Any]:
    """A stack file for this machine's Docker, with stand-in engines; `changes` are merged into a model's entry."""
    return {
        "hosts": {
            "here": {"connection": "local", "runtime": "docker", "root": ".berth/hosts", "engine_ports": ports + 3}
        },
        "models": {
            name: {
                "source": {"random": "tiny"},
                "engine": {"name": "vllm", "version": "0.32.0", "image": image, "device": "cpu"},
                "place": [{"host": "here"}],
                "context": 512,
                "concurrency": 4,
                "kv_cache": "64 MiB",
                "start_timeout": "60s",
                **changes.get(name, {}),
            }
            for name in models
        },
        "gateway": {
            "host": "here",
            "port": ports,
            "admin_port": ports + 1,
            "metrics_port": ports + 2,
            "image": envoy,
        },
    }
