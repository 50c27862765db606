"""The bootstrap as it is started: by any Python, with nothing installed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap.pins import FOLDER, PULUMI
from tests.processor_time import of_children

_AS_OLD = """
import runpy, sys
sys.version_info = (3, 9, 2, "final", 0)
sys.argv = ["bootstrap", "venv"]
runpy.run_module("bootstrap", run_name="__main__")
"""


def test_needs_nothing_but_the_standard_library() -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.insert(0, {str(FOLDER.parent)!r}); import bootstrap.cli",
    ]
    subprocess.run(command, check=True)


def test_an_old_python_is_refused_when_there_is_no_newer(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AS_OLD],
        cwd=FOLDER.parent,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "python: is 3.9.2, must be 3.11 or newer; install python3.11 and run again\n"


def test_an_old_python_hands_over_to_a_newer_one_that_starts(tmp_path: Path) -> None:
    for name, script in (("python3.11", "exit 127"), ("python3.12", '[ "$1" = -c ] || echo "newer: $*"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", _AS_OLD],
        cwd=FOLDER.parent,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "newer: -m bootstrap venv\n"


def test_the_entry_parses_under_an_old_python() -> None:
    ast.parse((FOLDER / "__main__.py").read_text(), feature_version=(3, 7))


@pytest.mark.pulumi
@pytest.mark.timeout(1800)  # a cold build of Pulumi from Go modules
def test_pulumi_is_here_and_found_again_in_no_time() -> None:
    command = [sys.executable, "-m", "bootstrap", "pulumi"]
    subprocess.run(command, cwd=FOLDER.parent, check=True, capture_output=True)
    begin = of_children()
    done = subprocess.run(command, cwd=FOLDER.parent, check=True, capture_output=True, text=True)
    assert of_children() - begin < 1
    assert done.stderr == ""
    version = subprocess.run(
        [Path(done.stdout.strip()) / "pulumi", "version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.strip().removeprefix("v") >= PULUMI
