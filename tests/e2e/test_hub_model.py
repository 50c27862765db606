"""A gated model from a hub, end to end: the token reaches the hub and nothing else; a stand-in answers for the hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from light import stack
from project import Project
from standin import install

from tests.hub.fixtures import adapter_files, hub, model_files
from tests.hub.stand_in import StandInHub

__all__ = ["hub"]

pytestmark = pytest.mark.pulumi

REPO = "acme/gated"
TOKEN = "hf_" + "t0psecret" * 4


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light engine's folder."""
    return install(tmp_path_factory.mktemp("engine"))


def own_home(folder: Path) -> dict[str, str]:
    """A home without any model in it; Python packages are shared between tests, as they are the same everywhere."""
    home = folder / "home"
    home.mkdir()
    return {"HOME": str(home), "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache/uv")}


@pytest.fixture
def served(
    project: Project,
    hub: StandInHub,
    environment: Path,
    ports: Callable[[], int],
    tmp_path: Path,
) -> str:
    """A stack with a gated model; gives its commit."""
    commit = hub.add(REPO, model_files(), gated=True)
    hub.granted.add(TOKEN)
    source = {"hub": REPO, "revision": commit, "token": "hf_token", "endpoint": hub.endpoint}
    project.extra |= own_home(tmp_path)
    project.write("light", stack(ports(), environment, first={"source": source}))
    project.init("light")
    return commit


def test_a_gated_model_is_downloaded_once_and_its_token_stays_secret(project: Project, served: str) -> None:
    project.pulumi("light", "config", "set", "--secret", "hf_token", TOKEN).ok()
    project.up("light").ok()
    assert TOKEN not in project.state("light")
    preview = project.unchanged("light").ok()
    assert TOKEN not in preview.output
    for path in project.workspace("light").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
    run = project.workspace("light") / "services/first-main-0/run"
    assert f"snapshots/{served}" in run.read_text()
    weights = next(Path(project.extra["HOME"]).rglob(f"snapshots/{served}/config.json"))
    weights.unlink()
    assert "config.json" in project.pulumi("light", "preview", "--diff").ok().output
    project.up("light").ok()
    assert weights.exists()
    project.destroy("light").ok()
    assert weights.exists()  # a download is kept


def test_an_adapter_comes_from_the_hub_and_is_listed_as_a_model(
    project: Project, hub: StandInHub, environment: Path, ports: Callable[[], int], tmp_path: Path
) -> None:
    commits = {"acme/base": hub.add("acme/base", model_files()), "acme/french": hub.add("acme/french", adapter_files())}
    base, french = ({"hub": repo, "revision": commit, "endpoint": hub.endpoint} for repo, commit in commits.items())
    project.extra |= own_home(tmp_path)
    lora = {"adapters": [{"name": "french", "source": french}]}
    project.write("light", stack(ports(), environment, first={"source": base, "lora": lora}))
    project.init("light")
    project.up("light").ok()
    folder = next(Path(project.extra["HOME"]).rglob(f"snapshots/{commits['acme/french']}"))
    run = (project.workspace("light") / "services/first-main-0/run").read_text()
    assert f"--lora-modules french={folder}" in run
    outputs = project.outputs("light")
    headers = {"Authorization": f"Bearer {outputs['keys']['default']}"}
    listed = requests.get(f"{outputs['url']}/models", headers=headers, timeout=10).json()["data"]
    assert [item["id"] for item in listed] == ["first", "french"]
    project.unchanged("light").ok()
    (folder / "adapter_config.json").unlink()
    assert "adapter_config.json" in project.pulumi("light", "preview", "--diff").ok().output
    project.destroy("light").ok()


def test_a_token_without_access_is_one_clear_line(project: Project, served: str) -> None:
    del served
    project.pulumi("light", "config", "set", "--secret", "hf_token", "hf_wrong").ok()
    done = project.up("light")
    assert done.status != 0
    errors = [line for line in done.output.partition("Diagnostics:")[2].splitlines() if REPO in line]
    assert len(errors) == 1, done.output
    assert "Traceback" not in done.output
    assert "hf_wrong" not in done.output
    project.destroy("light").ok()
