"""Images on a real Docker engine: found, missing, moved under their name; what a pull that fails says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from berth.provider.connection.local import LocalConnection
from berth.provider.host import Host
from berth.provider.operations.docker_image import DockerImage, DockerImageWant, PullFailed
from tests.machines.docker_fixtures import docker
from tests.machines.engine import Engine

__all__ = ["docker"]

pytestmark = pytest.mark.docker
IMAGE = DockerImage()


@pytest.fixture
def host(docker: Engine) -> Host:
    del docker
    return Host(name="box", workspace="/nowhere", connection=LocalConnection("box"), say=lambda _line: None)


@pytest.fixture
def name(docker: Engine) -> Iterator[str]:
    made = f"berth-test-image:{uuid.uuid4().hex[:8]}"
    yield made
    docker.run("rmi", "--force", made)


def make(docker: Engine, name: str) -> None:
    """An image like no other under this name."""
    change = f"LABEL of={uuid.uuid4().hex}"
    assert docker.run("import", "--change", change, "-", name, stdin=b"\0" * 10240).returncode == 0


async def test_one_that_is_there_is_used_as_it_is_and_stays(docker: Engine, host: Host, name: str) -> None:
    make(docker, name)
    want = DockerImageWant(host="box", image=name)
    assert await IMAGE.observe(host, want) == want
    await IMAGE.converge(host, want, want)
    first = await IMAGE.outputs(host, want)
    assert first["content"].startswith("sha256:")
    assert first["digest"] == ""
    make(docker, name)
    assert (await IMAGE.outputs(host, want))["content"] != first["content"]
    await IMAGE.converge(host, None, want)
    assert await IMAGE.observe(host, want) == want


async def test_one_that_cannot_be_had_says_what_to_do(host: Host) -> None:
    want = DockerImageWant(host="box", image=f"127.0.0.1:1/berth/{uuid.uuid4().hex}:v1")
    assert await IMAGE.observe(host, want) is None
    with pytest.raises(PullFailed, match=r"^box: 127\.0\.0\.1:1/\S+ cannot be pulled: the registry cannot be reached"):
        await IMAGE.converge(host, want, want)


@pytest.mark.parametrize("image", ["-x", "a b", "", "$(touch /tmp/owned)\n"])
def test_what_is_no_name_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="image"):
        DockerImageWant(host="box", image=image)
