"""Fetches the Python sources of one release of a package, without its dependencies."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def sources(package: str, version: str, cache: Path) -> Path:
    """A folder with the release's `.py` files, from the cache or from the package index by way of uv.

    Raises:
        subprocess.CalledProcessError: uv did not find or fetch the release.
    """
    folder = cache / package / version
    if folder.exists():
        return folder
    whole = cache / f".{package}-{version}"
    shutil.rmtree(whole, ignore_errors=True)
    subprocess.run(
        [
            *("uv", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(whole)),
            *("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_35", f"{package}=={version}"),
        ],
        check=True,
    )
    for file in [path for path in whole.rglob("*") if path.is_file() and path.suffix != ".py"]:
        file.unlink()
    folder.parent.mkdir(parents=True, exist_ok=True)
    whole.rename(folder)
    return folder
