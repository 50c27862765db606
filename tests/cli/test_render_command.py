"""`berth render` as a user runs it: YAML, a folder of files, no secrets, one line per mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
KSERVE = (PROJECT / "tests" / "kubernetes" / "stacks" / "kserve.yaml").read_text()


def render(*arguments: str, folder: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1", "S3_SECRET": "very secret"}
    command = [sys.executable, "-W", "error", "-m", "berth.cli", "render", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with one stack on a cluster."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "lab.yaml").write_text(KSERVE)
    return tmp_path


def test_a_stack_is_written_to_the_terminal(project: Path):
    done = render("lab", folder=project)
    assert (done.returncode, done.stderr) == (0, "")
    kinds = [one["kind"] for one in yaml.safe_load_all(done.stdout)]
    assert kinds[0] == "Namespace"
    assert kinds.count("InferenceService") == 4
    assert "${secret:s3_secret}" in done.stdout
    assert "very secret" not in done.stdout


def test_a_folder_gets_a_file_for_each_object_and_is_written_anew(project: Path):
    done = render("lab", "--output", "out", folder=project)
    files = sorted(path.name for path in (project / "out" / "lab").iterdir())
    assert (done.returncode, done.stdout) == (0, f"out/lab: {len(files)} objects\n")
    assert len(files) == len(list(yaml.safe_load_all(render("lab", folder=project).stdout)))
    assert files[0] == "000-namespace-llm.yaml"
    (project / "out" / "lab" / "099-secret-old.yaml").write_text("{}")
    assert render("lab", "--output", "out", folder=project).returncode == 0
    assert sorted(path.name for path in (project / "out" / "lab").iterdir()) == files


def test_a_folder_with_something_else_in_it_is_left_alone(project: Path):
    (project / "out" / "lab").mkdir(parents=True)
    (project / "out" / "lab" / "mine.yaml").write_text("x: 1")
    done = render("lab", "--output", "out", folder=project)
    assert done.returncode == 2
    assert done.stderr == "out/lab: holds mine.yaml, must be empty or rendered before; name another folder\n"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("runtime_class: nvidia", "runtime_clas: nvidia"), 2, "did you mean runtime_class?"),
        (("count: 4,", "count: 1,"), 1, "clusters.lab.gpus[0].count: is 1, 4 are used; must be at least 4"),
        (
            ("place: [{cluster: lab, gpus: 2}]", "place: [{cluster: lab, gpus: 2, overlay: {nodeSelctor: {a: b}}}]"),
            1,
            "models.llama: InferenceService llama spec.predictor.nodeSelctor is no field of KServe 0.17; did you mean",
        ),
        (('version: "0.17"', 'version: "0.14"'), 1, "clusters.lab.version: is 0.14, must be 0.15 or newer"),
    ],
)
def test_a_mistake_is_one_line(project: Path, change: tuple[str, str], code: int, said: str):
    (project / "stacks" / "lab.yaml").write_text(KSERVE.replace(*change))
    done = render("lab", folder=project)
    assert done.returncode == code
    assert done.stdout == ""
    assert any(said in line for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lap"], "lap: is no stack in stacks"),
        (["lab", "--cluster", "lap"], "lab: --cluster is lap, must be one that it has: lab"),
    ],
)
def test_a_wrong_name_is_one_line(project: Path, arguments: list[str], said: str):
    done = render(*arguments, folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_stack_without_clusters_has_nothing_to_render():
    done = render("dev")
    assert done.returncode == 2
    assert done.stderr == "dev: has no clusters, must have one to be rendered; berth plan shows the others\n"
