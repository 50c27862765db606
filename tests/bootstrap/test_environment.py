"""The project's own environment: what it is made from, where packages come from, and a real one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import environment
from bootstrap.errors import BootstrapError, explain
from bootstrap.pins import FOLDER
from tests.processor_time import of_children


@pytest.mark.parametrize(
    ("environ", "pip_config", "added"),
    [
        ({}, "", {}),
        ({}, "global.index-url='https://mirror/simple'", {"UV_DEFAULT_INDEX": "https://mirror/simple"}),
        ({}, ":env:.index-url='https://own/simple'", {"UV_DEFAULT_INDEX": "https://own/simple"}),
        (
            {},
            "global.index-url='https://a/simple'\n:env:.index-url='https://b/simple'",
            {"UV_DEFAULT_INDEX": "https://b/simple"},
        ),
        ({"UV_DEFAULT_INDEX": "https://uv/simple"}, "global.index-url='https://mirror/simple'", {}),
        ({"UV_INDEX_URL": "https://uv/simple"}, "global.index-url='https://mirror/simple'", {}),
        ({}, "global.cert='/etc/ca.pem'", {"SSL_CERT_FILE": "/etc/ca.pem"}),
        ({"SSL_CERT_FILE": "/own.pem"}, "global.cert='/etc/ca.pem'", {}),
        ({}, "global.timeout='60'", {}),
    ],
)
def test_uv_takes_packages_from_where_pip_was_told_to(
    environ: dict[str, str], pip_config: str, added: dict[str, str]
) -> None:
    assert environment.uv_environment(environ, pip_config) == environ | added


def test_an_activated_environment_does_not_receive_our_packages() -> None:
    assert environment.uv_environment({"VIRTUAL_ENV": "/home/me/other", "A": "b"}, "") == {"A": "b"}


def test_the_pin_of_uv_is_read_from_the_requirements() -> None:
    assert environment.uv_requirement("a==1\nuv==0.13.9   # makes environments\n") == "uv==0.13.9"
    with pytest.raises(BootstrapError, match="must have one"):
        environment.uv_requirement("uvicorn==1\nuv>=0.1\n")


@pytest.mark.parametrize(
    ("output", "meaning"),
    [
        ("error: Failed to fetch: `https://x/simple/a/`\n  dns error", "the index: cannot be reached"),
        ("NewConnectionError('...: Temporary failure in name resolution')", "the index: cannot be reached"),
        ("OSError: [Errno 28] No space left on device", "disk: is full"),
        ("error: No solution found when resolving dependencies", "the tool's last lines"),
        ("", "(it wrote nothing)"),
    ],
)
def test_a_failed_installation_says_what_to_do(output: str, meaning: str) -> None:
    assert meaning in explain(output, registry="the index", mirror="M", where="W")


def test_the_digest_follows_what_the_environment_is_made_from(tmp_path: Path) -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    first = {dev: environment.digest(tmp_path, dev=dev) for dev in (False, True)}
    assert first[False] != first[True]
    (tmp_path / "requirements-dev.txt").write_text("changed")
    assert environment.digest(tmp_path, dev=False) == first[False]
    assert environment.digest(tmp_path, dev=True) != first[True]
    (tmp_path / "requirements.txt").write_text("changed")
    assert environment.digest(tmp_path, dev=False) != first[False]


def test_a_real_environment_survives_a_kill_and_is_not_made_twice(tmp_path: Path) -> None:
    """A small project with this bootstrap in it, installed from the real index."""
    shutil.copytree(FOLDER, tmp_path / "bootstrap", ignore=shutil.ignore_patterns("__pycache__", "go"))
    uv = environment.uv_requirement((FOLDER.parent / "requirements.txt").read_text())
    (tmp_path / "requirements.txt").write_text(f"{uv}\npackaging==26.3\n")
    (tmp_path / "small.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "small"\nversion = "1"\n[build-system]\nrequires = ["hatchling==1.27.0"]\n'
        'build-backend = "hatchling.build"\n[tool.hatch.build.targets.wheel]\ninclude = ["small.py"]\n'
    )
    command = [sys.executable, "-m", "bootstrap", "venv"]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if "installing uv" in line:
            break
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / ".venv" / "bootstrap.done").exists()

    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    installed = subprocess.run(
        [tmp_path / ".venv/bin/python", "-c", "import small, packaging; print(packaging.__version__)"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert installed.stdout == "26.3\n"

    begin = of_children()
    again = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert of_children() - begin < 1
    assert again.stderr == ""
    assert (tmp_path / ".berth").stat().st_mode & 0o777 == 0o700
