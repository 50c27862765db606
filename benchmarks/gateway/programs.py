"""What the comparison needs and the project does not: nginx and wrk from Debian, Envoy and LiteLLM from PyPI.

All of it goes into the cache, nothing into the system. `apt-get` is asked for the packages alone, which are unpacked,
not installed; this runs on Debian or Ubuntu of the same release as the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from berth.gateway import ENVOY_REQUIREMENT, envoy_path

CACHE = Path(os.environ.get("BERTH_CACHE_DIR", "~/.cache/berth")).expanduser() / "benchmarks" / "gateway"
PACKAGES = ("nginx", "wrk", "libluajit-5.1-2", "libpcre2-8-0")
LITELLM = "litellm[proxy]==1.106.0"
"""Later ones ask for a package that PyPI lacks; never 1.82.7 or 1.82.8, which stole credentials."""


def debian(program: str) -> list[str]:
    """The command line of a program of Debian, unpacked into the cache."""
    root = CACHE / "debian"
    if not root.exists():
        archives = CACHE / "archives"
        archives.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=archives, check=True, stdout=subprocess.DEVNULL)
        for archive in archives.glob("*.deb"):
            subprocess.run(["dpkg", "-x", archive, root], check=True)
    found = next(path for folder in ("usr/sbin", "usr/bin") if (path := root / folder / program).exists())
    libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu"))
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(found)]


def envoy() -> str:
    """Envoy's binary, as the gateway runs it."""
    environment = _environment("envoy", ENVOY_REQUIREMENT)
    return envoy_path(str(environment))


def litellm() -> str:
    """LiteLLM's command."""
    return str(_environment("litellm", LITELLM) / "bin" / "litellm")


def _environment(name: str, requirement: str) -> Path:
    folder = CACHE / name
    if not (folder / "complete").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", "3.11", folder], check=True)
        install = [*uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", requirement]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    return folder
