"""The real vLLM in a container, on this CPU: from up to destroy, asked by an OpenAI client, its core frozen."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator

import openai
import pytest
import requests
from docker_box import Here, here, stack
from project import Project, until

from tests.gateway.conftest import envoy
from tests.machines.docker_fixtures import docker
from tests.machines.engine import Engine
from tests.machines.engine_image import envoy_image
from tests.machines.vllm_image import vllm_image

__all__ = ["docker", "envoy"]

pytestmark = [pytest.mark.pulumi, pytest.mark.docker, pytest.mark.engine, pytest.mark.soak]


@pytest.fixture
def box(project: Project, docker: Engine, envoy: str, ports: Callable[[], int]) -> Iterator[Here]:
    with vllm_image(docker) as image:
        tiny = {"start_timeout": "900s", "args": {"enforce_eager": True}}
        content = stack(image, envoy_image(docker, envoy), ports(), "tiny", tiny=tiny)
        with here(project, content, "real", docker) as made:
            yield made


@pytest.mark.timeout(1800)
def test_the_real_engine_serves_in_a_container(box: Here) -> None:
    said = box.up()
    for stage in ("starting vLLM", "reading the model", "starting the engine"):
        assert stage in said, said
    client = openai.OpenAI(base_url=f"{box.door}/v1", api_key=box.key, max_retries=0, timeout=60)
    answer = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "안녕하세요"}], max_tokens=8, stream=True
    )
    assert sum(1 for chunk in answer if chunk.choices) > 1
    assert box.outputs["smoke"]["tiny"]["streamed_tokens"] > 0
    box.up("--expect-no-changes")
    _its_core_freezes(box)
    box.destroyed()


def _its_core_freezes(box: Here) -> None:
    """SIGSTOP to vLLM's EngineCore alone: its server goes on to answer 200 to /health."""
    listed = box.docker("top", box.container("tiny-main-0"), "-eo", "pid,args")
    found = re.search(r"(\d+)\s+VLLM::EngineCore", listed)
    assert found is not None, listed
    core = int(found[1])
    begin = time.monotonic()
    os.kill(core, signal.SIGSTOP)
    try:
        until(lambda: _health(box) == "frozen", "it is out", 15)
        answer = box.ask("tiny")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert time.monotonic() - begin < 16
    finally:
        os.kill(core, signal.SIGCONT)
    until(lambda: box.ask("tiny").status_code == 200, "its return by itself", 30)


def _health(box: Here) -> str:
    return str(requests.get(f"{box.door}/health", timeout=5).json()["models"]["tiny"])
