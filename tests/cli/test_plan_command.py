"""`berth plan` as a user runs it: exit codes, formats, one line per mistake, and time."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

import pytest

from tests.ports import free_ports

PROJECT = Path(__file__).parents[2]

TINY = """\
hosts: {here: {connection: local, runtime: process}}
models:
  tiny:
    source: {random: tiny}
    engine: {name: vllm, version: 0.32.0, device: cpu}
    place: [{host: here}]
    context: 512
    concurrency: 4
gateway: {host: here, port: 8000}
"""
ELSEWHERE = TINY.replace("place: [{host: here}]", "place: [{host: there}]")
MISTAKEN = TINY.replace("context:", "contxt:").replace("concurrency: 4", "concurrency: many")


def berth(*arguments: str, folder: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "80", "NO_COLOR": "1"}
    command = [sys.executable, "-W", "error", "-m", "berth.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with one good stack."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "good.yaml").write_text(TINY)
    return tmp_path


@pytest.mark.parametrize("name", sorted(path.stem for path in (PROJECT / "stacks").glob("*.yaml")))
def test_every_stack_of_the_project_is_planned(name: str) -> None:
    done = berth("plan", name)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.startswith(name)


def test_a_stack_is_found_by_name_and_by_path(project: Path) -> None:
    by_name, by_path = berth("plan", "good", folder=project), berth("plan", "stacks/good.yaml", folder=project)
    assert by_name.returncode == by_path.returncode == 0
    assert by_name.stdout == by_path.stdout
    assert "tiny-main-0" in by_name.stdout


def test_a_refused_plan_is_shown_and_ends_with_1(project: Path) -> None:
    (project / "stacks" / "elsewhere.yaml").write_text(ELSEWHERE)
    done = berth("plan", "elsewhere", folder=project)
    assert done.returncode == 1
    assert "refusal  models.tiny.place[0].host: is there" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("refused: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "god"], "god: is no stack in stacks, must be one or a stack file's path; did you mean good?"),
        (["plan", "nothing/there.yaml"], "nothing/there.yaml: the file: cannot be read"),
        (["plan", "x" * 300], "there are: good"),
        (["plan", ""], "the name: is no stack in stacks"),
        (["plan", "a\x1b[31mb"], "a[31mb: is no stack"),
        (["plan"], "name a stack, or say --all"),
        (["plan", "good", "--all"], "--all plans every stack; name none"),
        (["plan", "--all", "--format", "svg"], "--format svg draws one stack; name it"),
        (["plan", "good", "--preview"], "--preview adds to the comment"),
        (["plan", "good", "--profile", "bold"], "stacks/good.yaml: --profile is bold, must be one that the file names"),
        (["plan", "good", "--output", "no/such/file"], "no/such/file: cannot be written (No such file or directory)"),
    ],
)
def test_wrong_input_is_one_line_and_ends_with_2(project: Path, arguments: list[str], said: str) -> None:
    done = berth(*arguments, folder=project)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["plan", "good", "--format", "pdf"], ["plan", "good", "--frmat", "svg"], ["plam"]]
)
def test_an_unknown_option_ends_with_2(project: Path, arguments: list[str]) -> None:
    done = berth(*arguments, folder=project)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_every_mistake_of_a_file_is_said_in_one_run(project: Path) -> None:
    (project / "stacks" / "bad.yaml").write_text(MISTAKEN)
    done = berth("plan", "bad", folder=project)
    assert done.returncode == 2
    assert done.stdout == ""
    assert all(line.startswith("stacks/bad.yaml: models.tiny.") for line in done.stderr.splitlines())
    assert "did you mean context?" in done.stderr
    assert "concurrency" in done.stderr


def test_json_is_for_programs(project: Path) -> None:
    assert json.loads(berth("plan", "good", "--format", "json", folder=project).stdout)["stack"] == "good"
    every = json.loads(berth("plan", "--all", "--format", "json", folder=project).stdout)
    assert [one["stack"] for one in every] == ["good"]


def test_svg_and_markdown_go_to_a_file(project: Path) -> None:
    for form in ("svg", "markdown", "text"):
        done = berth("plan", "good", "--format", form, "--output", f"plan.{form}", folder=project)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ET.parse(project / "plan.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file
    assert (project / "plan.markdown").read_text().startswith("<details>")
    assert (project / "plan.text").read_text().startswith("good  profile balanced")


def test_all_stacks_become_one_comment(project: Path) -> None:
    (project / "stacks" / "bad.yaml").write_text(MISTAKEN)
    (project / "stacks" / "elsewhere.yaml").write_text(ELSEWHERE)
    done = berth("plan", "--all", "--format", "markdown", folder=project)
    assert done.returncode == 2
    assert [line.split(" | ")[0] for line in done.stdout.splitlines() if line.startswith("| **")] == [
        "| **bad**", "| **elsewhere**", "| **good**",
    ]  # fmt: skip
    (project / "stacks" / "bad.yaml").unlink()
    assert berth("plan", "--all", "--format", "markdown", folder=project).returncode == 1


def test_nothing_is_written_and_nothing_heavy_is_imported(project: Path) -> None:
    code = (
        "import sys; sys.argv = ['berth', 'plan', 'good']\n"
        "import berth.cli\n"
        "try: berth.cli.main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('pulumi', 'grpc', 'requests', 'huggingface_hub', 'asyncio') if name in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert sorted(path.name for path in project.rglob("*")) == ["good.yaml", "stacks"]


def test_a_plan_takes_less_than_a_second(project: Path) -> None:
    """By processor time, since other tests run beside this one; compiling once is not what a user waits for."""
    times = []
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONPYCACHEPREFIX": str(project / "cache")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "berth.cli", "plan", "good"],
            cwd=project,
            env=environ,
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert sorted(times[1:])[1] < 1.0


def test_help_explains_the_commands_and_the_exit_codes() -> None:
    assert {"plan", "up", "down", "env", "schema"} <= set(berth("--help").stdout.split())
    text = " ".join(berth("plan", "--help").stdout.split())
    assert "2 wrong input" in text
    assert "--profile" in text


def test_a_terminal_without_unicode_still_shows_the_plan(project: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "berth.cli", "plan", "good"]
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "tiny-main-0" in done.stdout


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for the path of a Unix socket below it."""
    with TemporaryDirectory(prefix="b-") as name:
        yield Path(name)


@pytest.mark.pulumi
def test_the_comment_quotes_a_real_preview_and_leaves_the_project_as_it_is(short_folder: Path) -> None:
    project = short_folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(".git", ".berth", ".venv", "__pycache__", "tests"))
    (project / ".venv").symlink_to(PROJECT / ".venv")
    for stack in (project / "stacks").glob("*.yaml"):
        stack.unlink()
    gateway, _, _, engine = free_ports(4)  # since this machine may run the default stack; the gateway takes three
    text = TINY.replace("8000", str(gateway)).replace("{host: here}]", f"{{host: here, port: {engine}}}]")
    (project / "stacks" / "quiet.yaml").write_text(text)
    before = _digests(project)
    environ = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "berth.cli", "plan", "--all", "--format", "markdown", "--preview"]
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pulumi preview" in done.stdout
    assert "to create" in done.stdout
    assert str(short_folder) not in done.stdout
    assert _digests(project) == before


def _digests(project: Path) -> dict[str, str]:
    """What each file of a project holds, but for the last known facts of its machines, which a preview renews."""
    return {
        str(path): sha256(path.read_bytes()).hexdigest()
        for path in project.rglob("*")
        if path.is_file() and ".venv" not in path.parts and not path.is_relative_to(project / ".berth" / "facts")
    }


def test_the_schema_is_the_committed_one() -> None:
    assert berth("schema").stdout == (PROJECT / "schema" / "stack.schema.json").read_text(encoding="utf-8")
