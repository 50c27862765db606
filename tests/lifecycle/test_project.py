"""The environment that a project gives to Pulumi, and to a shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from berth import lifecycle
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project

BIN = Path("/cache/pulumi/bin")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "a clone's folder, 100%#?"
    (root / "stacks").mkdir(parents=True)
    (root / "stacks" / "dev.yaml").touch()
    (root / "stacks" / "rtx5090.yaml").touch()
    (root / "Pulumi.yaml").write_text("name: llm-serving\n", encoding="utf-8")
    return Project(root)


@pytest.mark.parametrize(
    ("environ", "backend"),
    [
        ({}, "file://{url}/.berth/state"),
        ({"PULUMI_BACKEND_URL": "s3://team"}, "s3://team"),
        ({"PULUMI_BACKEND_URL": "file:///elsewhere"}, "file:///elsewhere"),
        # what sourcing another clone's script left in the shell is not a choice
        ({"PULUMI_BACKEND_URL": "file:///other/.berth/state", "BERTH_PROJECT": "/other"}, "file://{url}/.berth/state"),
        ({"PULUMI_BACKEND_URL": "s3://team", "BERTH_PROJECT": "/other"}, "s3://team"),
    ],
)
def test_the_state_lies_in_the_project_unless_the_user_chose(
    project: Project, environ: dict[str, str], backend: str
) -> None:
    values = project.environment("dev", BIN, environ)
    assert values["PULUMI_BACKEND_URL"] == backend.format(url=quote(str(project.root)))


def test_everything_that_pulumi_needs_is_said(project: Project) -> None:
    assert project.environment("dev", BIN, {"PATH": "/usr/bin:/bin", "LANG": "C"}) == {
        "LANG": "C",
        "PATH": f"{project.root}/.venv/bin:{BIN}:/usr/bin:/bin",
        "BERTH_PROJECT": str(project.root),
        "VIRTUAL_ENV": f"{project.root}/.venv",
        "PULUMI_HOME": f"{project.root}/.berth/pulumi-home",
        "PULUMI_BACKEND_URL": f"file://{quote(str(project.root))}/.berth/state",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_LOG_ROTATION_MAX_TOTAL_MB": "50",
        "PULUMI_PYTHON_CMD": f"{Path(lifecycle.__file__).parent}/pulumi-python",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL": "true",
        "PULUMI_RUN_PROGRAM": "true",
        "PULUMI_CONFIG_PASSPHRASE": "berth-dev",
    }


def test_the_dev_passphrase_is_only_for_the_dev_stack(project: Project) -> None:
    own = {"PULUMI_CONFIG_PASSPHRASE": "own"}
    assert project.environment("dev", BIN, own)["PULUMI_CONFIG_PASSPHRASE"] == "berth-dev"
    assert project.environment("rtx5090", BIN, own)["PULUMI_CONFIG_PASSPHRASE"] == "own"
    assert "PULUMI_CONFIG_PASSPHRASE" not in project.environment("rtx5090", BIN, {})


def test_a_shell_that_sources_the_script_has_the_same_environment(project: Project) -> None:
    project.open()
    project.script.write_text(project.source("dev", BIN, {}), encoding="utf-8")
    start = {"PATH": "/usr/bin:/bin"}
    for shell in ("sh", "bash"):
        done = subprocess.run(
            [shell, "-euc", ". ./.berth/env; . ./.berth/env; env"],
            cwd=project.root,
            env=start,
            capture_output=True,
            text=True,
            check=True,
        )
        seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        assert project.environment("dev", BIN, start).items() <= seen.items()


def test_the_script_holds_no_passphrase_of_the_user(project: Project) -> None:
    assert "own-secret" not in project.source("rtx5090", BIN, {"PULUMI_CONFIG_PASSPHRASE": "own-secret"})


@pytest.mark.parametrize(("own", "seen"), [({}, "berth-dev"), ({"PULUMI_CONFIG_PASSPHRASE": "own"}, "own")])
def test_the_script_of_another_stack_serves_the_dev_stack_too(project: Project, own: dict[str, str], seen: str) -> None:
    script = project.source("rtx5090", BIN, {"PULUMI_CONFIG_PASSPHRASE": "own"})
    done = subprocess.run(
        ["sh", "-euc", script + 'echo "$PULUMI_CONFIG_PASSPHRASE"'],
        env={"PATH": "/usr/bin:/bin", **own},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == seen


def test_the_folders_are_the_users_alone(project: Project) -> None:
    project.folder.mkdir(mode=0o755)
    project.open()
    for path in (project.folder, project.folder / "state", project.folder / "pulumi-home"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_pulumi_has_no_folder_for_its_log_unless_it_had_one(project: Project) -> None:
    logs = project.folder / "pulumi-home/logs"
    project.open()
    assert logs.is_file()
    logs.unlink()
    logs.mkdir()
    project.open()
    assert logs.is_dir()


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///data/state", "/data/state"),
        ("file:///data/100%25/state", "/data/100%/state"),
        ("file:///data/state?no_tmp_dir=true", "/data/state"),
        ("file://~/state", "/home/me/state"),
        ("file://./state", "{root}/state"),
        ("s3://bucket/path", None),
        ("https://api.pulumi.com", None),
    ],
)
def test_finds_the_folder_of_a_file_backend(
    project: Project, url: str, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    state = project.state({"PULUMI_BACKEND_URL": url})
    assert state == (Path(folder.format(root=project.root)) if folder else None)


@pytest.mark.parametrize(
    ("stack", "environ", "why"),
    [
        ("dev", {}, None),
        ("rtx5090", {"PULUMI_CONFIG_PASSPHRASE": ""}, None),
        ("rtx5090", {"PULUMI_CONFIG_PASSPHRASE_FILE": "/x"}, None),
        ("rtx5090", {}, "stack rtx5090: has no passphrase for its secrets, must have one; set PULUMI_CONFIG_PASSPHR"),
        ("rtx5090", {"PULUMI_CONFIG_PASSPHRASE": "berth-dev"}, "has the public passphrase of the dev stack, must have"),
        ("rtx509", {}, "stack rtx509: has no file stacks/rtx509.yaml, must have one; .*choose of: dev, rtx5090"),
        ("a b", {}, "stack 'a b': is no name"),
        ("../dev", {}, "is no name"),
        ("", {}, "is no name"),
    ],
)
def test_refuses_a_stack_that_cannot_be(project: Project, stack: str, environ: dict[str, str], why: str | None) -> None:
    if why is None:
        project.check(stack, environ)
        return
    with pytest.raises(LifecycleError, match=why):
        project.check(stack, environ)


def test_a_key_service_needs_no_passphrase(project: Project) -> None:
    (project.root / "Pulumi.rtx5090.yaml").write_text("secretsprovider: awskms://alias/x\n", encoding="utf-8")
    project.check("rtx5090", {})


def test_a_damaged_settings_file_is_named(project: Project) -> None:
    (project.root / "Pulumi.rtx5090.yaml").write_text("a: [\n", encoding="utf-8")
    with pytest.raises(LifecycleError, match=r"Pulumi\.rtx5090\.yaml: cannot be read, must be YAML"):
        project.check("rtx5090", {})


def test_this_package_knows_its_own_project() -> None:
    assert (Project.here().root / "Pulumi.yaml").is_file()
    assert Project.here().name == "llm-serving"
    assert os.access(Project.here().root / ".venv", os.X_OK)
