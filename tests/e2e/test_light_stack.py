"""What a stack does when it is changed, doubled, misspelt or killed; a light process stands in for the engine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import sweep
from light import stack
from project import PASSPHRASE, ROOT, Project
from standin import install
from traffic import Traffic

pytestmark = pytest.mark.pulumi


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light engine's folder."""
    return install(tmp_path_factory.mktemp("engine"))


def test_up_serves_and_the_second_up_is_empty(project: Project, environment: Path, ports: Callable[[], int]) -> None:
    project.write("light", stack(ports(), environment, ["first", "second"]))
    project.init("light")
    done = project.up("light").ok()
    outputs = project.outputs("light")
    assert outputs["models"] == ["first", "second"]
    assert all(result["streamed_tokens"] > 0 for result in outputs["smoke"].values())
    assert "creat" in done.output
    project.unchanged("light").ok()
    project.up("light", "--expect-no-changes").ok()
    project.destroy("light").ok()
    assert project.processes() == {}
    assert not project.workspace("light").exists()


def test_two_stacks_on_one_host_at_the_same_time(project: Project, environment: Path, ports: Callable[[], int]) -> None:
    names = ["one", "two"]
    for name in names:
        project.write(name, stack(ports(), environment))
        project.init(name)
    with ThreadPoolExecutor() as pool:
        for done in pool.map(project.up, names):
            done.ok()
        for done in pool.map(project.unchanged, names):
            done.ok()
    assert project.pid("one", "first-main-0") != project.pid("two", "first-main-0")
    project.destroy("one").ok()
    outputs = project.outputs("two")
    answer = requests.get(
        f"{outputs['url']}/models", headers={"Authorization": f"Bearer {outputs['keys']['default']}"}, timeout=5
    )
    assert answer.status_code == 200
    project.unchanged("two").ok()
    project.destroy("two").ok()
    assert project.processes() == {}


def test_adding_a_model_fails_no_request(project: Project, environment: Path, ports: Callable[[], int]) -> None:
    port = ports()
    project.write("light", stack(port, environment))
    project.init("light")
    project.up("light").ok()
    before = project.pid("light", "first-main-0")
    outputs = project.outputs("light")
    with Traffic(outputs["url"], outputs["keys"]["default"], "first", rate=2) as traffic:
        project.write("light", stack(port, environment, ["first", "second"]))
        project.up("light").ok()
    assert len(traffic.asked) > 4
    assert traffic.failed == []
    assert project.pid("light", "first-main-0") == before
    assert project.outputs("light")["models"] == ["first", "second"]
    project.destroy("light").ok()


@pytest.fixture(scope="module")
def never_up(cli: Path) -> Iterator[Project]:
    """A copy whose stack is never deployed, so that many tests can share it."""
    with tempfile.TemporaryDirectory(prefix="berth-") as folder:
        made = Project.copy(Path(folder), cli)
        made.init("light")
        yield made
        sweep(made)


def _unknown_key(content: dict[str, Any]) -> None:
    content["models"]["first"]["contxt"] = 512


def _wrong_type(content: dict[str, Any]) -> None:
    content["models"]["first"]["context"] = "a lot"


def _missing_folder(content: dict[str, Any]) -> None:
    content["models"]["first"]["source"] = {"path": "/nowhere/model"}


def _bad_revision(content: dict[str, Any]) -> None:
    content["models"]["first"]["source"] = {"hub": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "main"}


def _one_name_twice(content: dict[str, Any]) -> None:
    content["models"]["second"] = {**content["models"]["first"], "aliases": ["first"]}


def _share_over_one(content: dict[str, Any]) -> None:
    content["models"]["first"]["share"] = 1.5


def _missing_secret(content: dict[str, Any]) -> None:
    content["gateway"]["keys"] = [{"name": "alice", "secret": "alice_key"}]


def _unknown_version(content: dict[str, Any]) -> None:
    content["models"]["first"]["engine"]["version"] = "0.0.1"


def _empty_key(content: dict[str, Any]) -> None:
    content["gateway"]["keys"] = [{"name": "alice", "secret": ""}]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_unknown_key, r"models\.first\.contxt.*context"),
        (_wrong_type, r"models\.first\.context.*"),
        (_missing_folder, r"models\.first\.source\.path.*/nowhere/model"),
        (_bad_revision, r"models\.first\.source\.revision.*main"),
        (_one_name_twice, r"first"),
        (_share_over_one, r"models\.first\.share.*1\.5"),
        (_missing_secret, r"alice_key"),
        (_unknown_version, r"models\.first\.engine.*0\.0\.1"),
        (_empty_key, r"gateway\.keys.*"),
    ],
)
def test_wrong_input_is_one_clear_line_and_changes_nothing(
    never_up: Project,
    environment: Path,
    ports: Callable[[], int],
    spoil: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    content = stack(ports(), environment)
    spoil(content)
    never_up.write("light", content)
    done = never_up.pulumi("light", "up", "--yes")  # which begins as a preview
    assert done.status != 0
    errors = [line.strip() for line in done.output.partition("Diagnostics:")[2].splitlines() if "error:" in line]
    assert len(errors) == 1, done.output
    assert re.search(message, errors[0]), errors
    assert "Traceback" not in done.output
    assert 'File "' not in done.output
    assert never_up.processes() == {}
    assert not never_up.workspace("light").exists()


def test_a_port_in_use_is_named_before_anything_is_changed(
    project: Project, environment: Path, ports: Callable[[], int], unused_listener: int
) -> None:
    del ports
    project.write("light", stack(unused_listener, environment))
    project.init("light")
    done = project.pulumi("light", "preview")
    assert done.status != 0
    assert re.search(rf"port {unused_listener} is used by .*process {os.getpid()}\b", done.output), done.output
    assert "Traceback" not in done.output


@pytest.fixture
def unused_listener() -> Any:
    """A port on which this test itself listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_stack_whose_file_is_broken_can_be_taken_down(
    project: Project, environment: Path, ports: Callable[[], int]
) -> None:
    content = stack(ports(), environment)
    project.write("light", content)
    project.init("light")
    project.up("light").ok()
    project.write("light", {**content, "models": {}})
    done = subprocess.run(
        [ROOT / ".venv/bin/python", "-m", "berth.cli", "down", "light"],
        cwd=project.root,
        env={**os.environ, "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.processes() == {}
    assert not project.workspace("light").exists()


def test_moved_ports_and_addresses_are_followed(project: Project, environment: Path, ports: Callable[[], int]) -> None:
    content = stack(ports(), environment)
    project.write("light", content)
    project.init("light")
    project.up("light").ok()
    content["gateway"] = {**content["gateway"], "bind": "0.0.0.0", "plain": True}
    content["hosts"]["here"]["engine_ports"] += 500
    project.write("light", content)
    project.up("light").ok()
    project.unchanged("light").ok()
    endpoints = project.workspace("light") / "gateway/endpoints/first@main.json"
    assert endpoints.read_text().count("port_value") == 1
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    assert f"0.0.0.0:{content['gateway']['port']} " in listening
    project.destroy("light").ok()
    assert project.processes() == {}
