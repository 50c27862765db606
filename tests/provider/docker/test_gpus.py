"""How a container gets its cards, by what the host's Docker and toolkit say."""

from __future__ import annotations

import pytest

from berth.facts.model import CdiFile, DockerFact, HostFacts
from berth.provider.docker.gpus import access, caution
from berth.provider.errors import BadInput
from tests.facts.fixtures import recorded

LISTED = (CdiFile(path="/etc/cdi/nvidia.yaml", kind="nvidia.com/gpu", devices=("0", "1", "all")),)


def facts(docker: DockerFact, cdi: tuple[CdiFile, ...] = ()) -> HostFacts:
    return recorded("rtx5090-ubuntu2404").model_copy(update={"docker": docker, "cdi": cdi})


@pytest.mark.parametrize(
    ("docker", "cdi", "way"),
    [
        (DockerFact(version="28.5.2", cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=all")), (), "cdi"),
        (DockerFact(version="26.1.5", cdi_dirs=("/etc/cdi",)), LISTED, "cdi"),
        (DockerFact(version="26.1.5+dfsg1", cdi_dirs=("/etc/cdi",), runtimes=("nvidia", "runc")), LISTED, "runtime"),
        (DockerFact(version="28.2.0", cdi_dirs=("/etc/cdi",), runtimes=("nvidia", "runc")), LISTED, "cdi"),
        (DockerFact(version="28.5.2", runtimes=("nvidia", "runc")), LISTED, "runtime"),
        (DockerFact(version="26.1.5", runtimes=("nvidia", "runc")), LISTED, "runtime"),
        (DockerFact(version="24.0.7", cdi_dirs=("/etc/cdi",), runtimes=("nvidia",)), LISTED, "runtime"),
        (DockerFact(version="24.0.7", runtimes=("nvidia",)), (), "runtime"),
    ],
)
def test_cdi_comes_first_where_docker_starts_its_containers_again(
    docker: DockerFact, cdi: tuple[CdiFile, ...], way: str
) -> None:
    assert access(facts(docker, cdi), (0,), where="qwen-main-0 on box") == way


@pytest.mark.parametrize(
    ("docker", "cdi", "cards"),
    [
        (DockerFact(version="26.1.5", runtimes=("runc",)), (), (0,)),
        (DockerFact(version="26.1.5", cdi_dirs=("/etc/cdi",)), LISTED, (0, 2)),
        (DockerFact(), LISTED, (0,)),
    ],
)
def test_without_either_it_is_said_what_to_do(
    docker: DockerFact, cdi: tuple[CdiFile, ...], cards: tuple[int, ...]
) -> None:
    with pytest.raises(BadInput, match=r"^qwen-main-0 on box: Docker there knows neither CDI devices .*; declare"):
        access(facts(docker, cdi), cards, where="qwen-main-0 on box")


@pytest.mark.parametrize(
    ("docker", "said"),
    [
        (DockerFact(version="26.1.5+dfsg1", cdi_dirs=("/etc/cdi",)), True),
        (DockerFact(version="26.1.5", cdi_dirs=("/etc/cdi",), runtimes=("nvidia",)), False),
        (DockerFact(version="28.2.0", cdi_dirs=("/etc/cdi",)), False),
        (DockerFact(version="odd", cdi_dirs=("/etc/cdi",)), False),
    ],
)
def test_containers_that_do_not_come_back_are_spoken_of(docker: DockerFact, *, said: bool) -> None:
    text = caution(facts(docker, LISTED), (0,), where="qwen-main-0 on box")
    assert ("engines stay down after a reboot" in " ".join(text.split())) is said
    assert bool(text) is said
