"""The project's own Python environment in .venv: pinned requirements, and the project itself editable."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bootstrap.cache import lock
from bootstrap.command import run
from bootstrap.errors import BootstrapError, explain
from bootstrap.progress import Progress


def ensure(project: Path, progress: Progress, *, dev: bool) -> None:
    """Make or complete the environment; under a tenth of a second when nothing changed.

    Args:
        project: the project's root.
        progress: where the lines go.
        dev: also what tests and checks need.

    Raises:
        BootstrapError: the interpreter, the package index or room on the disk is missing.
    """
    venv, want = project / ".venv", digest(project, dev=dev)
    if want in _stamps(venv):
        return
    own = project / ".berth"
    own.mkdir(mode=0o700, exist_ok=True)
    with lock(own / "bootstrap.lock", progress):
        if want in _stamps(venv):  # another bootstrap made it while this one waited
            return
        _make(venv, progress)
        requirements = "requirements-dev.txt" if dev else "requirements.txt"
        _install(project, venv, requirements, progress)
        # What development needs includes what running needs.
        done = {want, digest(project, dev=False)}
        new = venv / "bootstrap.new"
        new.write_text("\n".join(sorted(done)) + "\n", encoding="utf-8")
        new.replace(venv / "bootstrap.done")


def digest(project: Path, *, dev: bool) -> str:
    """What an environment is made from: the interpreter, the place, the requirements, the project's description."""
    result = hashlib.sha256(f"{sys.version} {project} {dev}".encode())
    for name in ("requirements.txt", "requirements-dev.txt" if dev else "", "pyproject.toml"):
        if name:
            result.update((project / name).read_bytes())
    return result.hexdigest()


def uv_requirement(requirements: str) -> str:
    """The pinned uv in the text of requirements.txt.

    Raises:
        BootstrapError: there is none.
    """
    found = re.search(r"^uv==[\w.]+", requirements, re.MULTILINE)
    if found is None:
        raise BootstrapError("requirements.txt: has no line `uv==VERSION`, must have one; restore it")
    return found.group(0)


def uv_environment(environment: Mapping[str, str], pip_config: str) -> dict[str, str]:
    """The environment for uv, with the index and certificates that pip was told to use; uv's own settings win.

    Args:
        environment: this process's.
        pip_config: the output of `pip config list`, such as `global.index-url='https://mirror/simple'`.
    """
    said = dict(re.findall(r"^(?:global|install|site|:env:)\.([\w-]+)='(.*)'$", pip_config, re.MULTILINE))
    result = dict(environment)
    # The project's environment is made by this bootstrap; an activated other one must not receive it.
    result.pop("VIRTUAL_ENV", None)
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & result.keys() and "index-url" in said:
        result["UV_DEFAULT_INDEX"] = said["index-url"]
    if "cert" in said:
        result.setdefault("SSL_CERT_FILE", said["cert"])
    return result


def _stamps(venv: Path) -> list[str]:
    try:
        return (venv / "bootstrap.done").read_text(encoding="utf-8").split() if (venv / "bin/python").exists() else []
    except OSError:
        return []


def _make(venv: Path, progress: Progress) -> None:
    """A folder with a Python that has pip; one that an interruption left incomplete is made anew."""
    probe: list[str | Path] = [venv / "bin/python", "-m", "pip", "--version"]
    try:
        works = subprocess.run(probe, capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    if works:
        return
    argv: list[str | Path] = [sys.executable, "-m", "venv", "--clear", venv]
    code, output = run(argv, progress, f"making {venv.name}; a few seconds", cwd=venv.parent)
    if code and "ensurepip" in output:
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise BootstrapError(f"python: cannot make environments, must be able to; install its package {name}")
    if code:
        raise BootstrapError(f"{venv}: cannot be made; {_explain(output)}")


def _install(project: Path, venv: Path, requirements: str, progress: Progress) -> None:
    python = venv / "bin/python"
    uv = uv_requirement((project / "requirements.txt").read_text(encoding="utf-8"))
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    steps: list[tuple[str, list[str | Path]]] = [
        (f"installing {uv}; a few seconds", [*pip, "install", "--quiet", uv]),
        (
            f"installing {requirements}; usually under a minute",
            [venv / "bin/uv", "pip", "install", "--python", python, "-r", requirements],
        ),
        (
            "installing the project itself, editable",
            [venv / "bin/uv", "pip", "install", "--python", python, "--no-deps", "--editable", "."],
        ),
    ]
    told = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    environment = uv_environment(os.environ, told)
    for label, argv in steps:
        code, output = run(argv, progress, label, cwd=project, env=environment)
        if code:
            raise BootstrapError(f"{label.partition(';')[0]}: failed; {_explain(output)}")


def _explain(output: str) -> str:
    return explain(
        output,
        registry="the Python package index",
        mirror="PIP_INDEX_URL and UV_DEFAULT_INDEX",
        where="UV_CACHE_DIR",
    )
