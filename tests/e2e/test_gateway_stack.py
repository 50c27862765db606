"""A stack whose gateway encrypts, limits and has a path prefix; a light process stands in for the engine."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from light import stack
from project import Project
from standin import install

pytestmark = pytest.mark.pulumi


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light engine's folder."""
    return install(tmp_path_factory.mktemp("engine"))


def test_an_encrypted_gateway_with_limits_and_a_prefix_is_up_proved_and_gone(
    project: Project, environment: Path, ports: Callable[[], int]
) -> None:
    content = stack(ports(), environment, ["first"], first={"path_prefix": "/one/"})
    content["gateway"] |= {"bind": "0.0.0.0", "tls": {"self_signed": True}, "limits": {"requests_per_minute": 5}}
    project.write("light", content)
    project.init("light")
    project.up("light").ok()
    outputs = project.outputs("light")
    assert outputs["url"].startswith("https://localhost:")
    certificate = outputs["certificate"]["file"]
    assert ssl.create_default_context(cafile=certificate)
    assert outputs["certificate"]["expires"] > "2026"
    assert "PRIVATE KEY" not in project.state("light")

    with requests.Session() as session:
        session.trust_env = False  # an environment may name authorities of its own
        session.verify = certificate
        session.headers["Authorization"] = f"Bearer {outputs['keys']['default']}"
        door = outputs["url"].removesuffix("/v1")
        answer = session.post(f"{door}/one/v1/completions", json={"model": "first", "prompt": "Hi"}, timeout=10)
        assert answer.status_code == 200, answer.text
        assert requests.get(f"{door}/health", verify=certificate, timeout=5).json()["models"] == {"first": "up"}
        statuses = [session.get(f"{door}/v1/models", timeout=5).status_code for _ in range(8)]
        assert statuses[0] == 200
        assert statuses[-1] == 429

    project.unchanged("light").ok()
    content["gateway"]["limits"] = {"requests_per_minute": 6000}
    gateway = project.pid("light", "gateway")
    project.write("light", content)
    project.up("light").ok()
    assert project.pid("light", "gateway") == gateway
    project.destroy("light").ok()
    assert project.processes() == {}
    assert not project.workspace("light").exists()
