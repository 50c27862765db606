"""Images on a real Docker engine: found, missing, moved under their name; what a pull that fails says."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from berth.provider.connection.local import LocalConnection
from berth.provider.host import Host
from berth.provider.operations.docker_image import DockerImage, DockerImageWant, PullFailed
from tests.machines.docker_fixtures import docker
from tests.machines.engine import Engine
from tests.machines.fixtures import or_skip
from tests.machines.registry import Registry, registry

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


@pytest.fixture(scope="module")
def images(docker: Engine) -> Iterator[Registry]:
    with or_skip("registry of images"), registry(docker) as running:
        yield running


def make(docker: Engine, name: str) -> None:
    """An image like no other under this name, of one layer like no other."""
    with io.BytesIO() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(uuid.uuid4().hex))
        assert docker.run("import", "-", name, stdin=archive.getvalue()).returncode == 0


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


async def test_one_of_a_registry_comes_by_its_digest_and_says_how_far_it_is(
    docker: Engine, host: Host, name: str, images: Registry
) -> None:
    make(docker, name)
    pushed = images.push(name).replace(images.address, images.door)  # where Docker asks for no encryption
    docker.out("rmi", name)
    want, said = DockerImageWant(host="box", image=pushed), list[str]()
    assert await IMAGE.observe(host, want) is None
    try:
        await IMAGE.converge(replace(host, say=said.append), want, want)
        assert said == [f"pulling {pushed}", "pulling: 0 of 1 layers", "pulling: 1 of 1 layers"]
        assert await IMAGE.observe(host, want) == want
        assert (await IMAGE.outputs(host, want))["digest"] == pushed.partition("@")[2]
    finally:
        docker.run("rmi", "--force", pushed)


async def test_a_registry_that_refuses_says_what_to_do(docker: Engine, host: Host, name: str, images: Registry) -> None:
    make(docker, name)
    pushed = images.push(name)
    plain = DockerImageWant(host="box", image=pushed)
    with pytest.raises(PullFailed, match=r"the registry speaks plain HTTP; name it in \S+insecure-registries"):
        await IMAGE.converge(host, plain, plain)
    door, _, digest = pushed.replace(images.address, images.door).partition("@")
    unknown = DockerImageWant(host="box", image=f"{door}@sha256:{digest[:6:-1]}")
    with pytest.raises(PullFailed, match="the registry has no such tag or digest"):
        await IMAGE.converge(host, unknown, unknown)


@pytest.mark.parametrize("image", ["-x", "a b", "", "$(touch /tmp/owned)\n"])
def test_what_is_no_name_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="image"):
        DockerImageWant(host="box", image=image)
