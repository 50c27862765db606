"""What Pulumi runs as Python is the project's own, and answers for pip what pip would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from berth import lifecycle

PYTHON = Path(lifecycle.__file__).with_name("pulumi-python")
LIST = ("-m", "pip", "list", "-v", "--format", "json")


def _said(*argv: str | Path) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(argv, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True).stdout


def _packages(text: str) -> set[tuple[str, str, str]]:
    """Name as packages are compared by it, version and place of each."""
    found = json.loads(text)
    return {(re.sub(r"[-_.]+", "-", one["name"]).lower(), one["version"], one["location"]) for one in found}


def test_it_names_the_packages_that_pip_names() -> None:
    assert _packages(_said(PYTHON, *LIST)) == _packages(_said(sys.executable, *LIST))


def test_pulumi_reads_the_names_of_its_own_packages_with_dashes() -> None:
    names = {one["name"] for one in json.loads(_said(PYTHON, *LIST))}
    assert "pulumi" in names
    assert not [name for name in names if "_" in name]


def test_everything_else_is_python() -> None:
    code = "import sys; print(sys.prefix, sys.argv)"
    assert _said(PYTHON, "-c", code, "a b", "'") == _said(sys.executable, "-c", code, "a b", "'")
