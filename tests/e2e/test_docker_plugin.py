"""pulumi-docker with the plugin of the bootstrap: for programs of users; no stack of Berth's own needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PASSPHRASE, ROOT

from tests.machines.engine import Engine, Unavailable, docker_engine
from tests.machines.image import machine_image
from tests.ports import free_port

pytestmark = [pytest.mark.pulumi, pytest.mark.docker]

_PROJECT = """
name: proof
runtime: python
options: {refresh: always}
"""

_PROGRAM = """
import pulumi_docker as docker
import pulumi

config = pulumi.Config()
engine = docker.Provider("engine", host=config.require("host"))
mine = pulumi.ResourceOptions(provider=engine)
network = docker.Network("net", opts=mine)
volume = docker.Volume("data", opts=mine)
container = docker.Container(
    "web",
    image=config.require("image"),
    command=["python3", "-m", "http.server", "8000"],
    healthcheck=docker.ContainerHealthcheckArgs(
        tests=["CMD", "python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/')"],
        interval="1s", timeout="5s", retries=30,
    ),
    wait=True,
    networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=network.name)],
    volumes=[docker.ContainerVolumeArgs(volume_name=volume.name, container_path="/data")],
    ports=[docker.ContainerPortArgs(internal=8000, external=config.require_int("port"), ip="127.0.0.1")],
    opts=mine,
)
pulumi.export("id", container.id)
"""


@pytest.fixture
def engine() -> Iterator[Engine]:
    try:
        with docker_engine() as made:
            yield made
    except Unavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(f"no Docker engine: {reason}")
        pytest.skip(f"no Docker engine: {reason}")


def test_a_container_with_a_health_check_and_an_empty_second_up(engine: Engine, cli: Path, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text(_PROJECT)
    (tmp_path / "__main__.py").write_text(_PROGRAM)
    (tmp_path / "state").mkdir()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")},
        "PATH": f"{ROOT}/.venv/bin:{cli}:{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }

    def run(*argv: str, cwd: Path = tmp_path) -> str:
        done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "bootstrap", "--quiet", "docker", cwd=ROOT)
    pulumi = ("pulumi", "--non-interactive", "--color", "never", "--stack", "proof")
    run("pulumi", "stack", "init", "proof", "--non-interactive")
    for key, value in (("host", engine.host), ("image", machine_image(engine)), ("port", str(free_port()))):
        run(*pulumi, "config", "set", key, value)
    try:
        run(*pulumi, "up", "--yes", "--skip-preview")
        container = run(*pulumi, "stack", "output", "id").strip()
        assert engine.out("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"
        run(*pulumi, "up", "--yes", "--skip-preview", "--expect-no-changes")
    finally:
        run(*pulumi, "destroy", "--yes", "--skip-preview")
    assert engine.run("inspect", container).returncode != 0
