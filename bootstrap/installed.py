"""The Pulumi that this machine already has: used as it is when new enough, never changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from bootstrap.errors import Unavailable
from bootstrap.pins import PULUMI


def version(text: str) -> tuple[int, int, int] | None:
    """`v3.250.0` as numbers; None for what is not a release (a development build, an error, nothing)."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def judge(said: str, *, language_host: bool, at: str = "pulumi") -> None:
    """Decides whether an installed Pulumi serves.

    Args:
        said: what `pulumi version` printed.
        language_host: whether its Python language host is there too.
        at: where it lies, for the message.

    Raises:
        Unavailable: it does not, and why.
    """
    have, want = version(said), version(PULUMI)
    assert want is not None  # noqa: S101 -- a pin of this package
    if have is None:
        raise Unavailable(f"{at}: says {said.strip()[:60]!r} for its version, must be a release; it is left alone")
    if have[0] != want[0] or have < want:
        raise Unavailable(f"{at}: is {said.strip()}, must be {PULUMI} or a newer 3.x; it is left alone")
    if not language_host:
        raise Unavailable(f"{at}: has no pulumi-language-python beside it, must have; it is left alone")


def find(home: Path, path: str | None = None) -> Path:
    """The folder of the installed Pulumi that serves.

    Args:
        home: an own PULUMI_HOME for asking its version, so that the user's is not written to.
        path: a PATH to search instead of this process's.

    Raises:
        Unavailable: there is none, or it does not serve.
    """
    found = shutil.which("pulumi", path=path)
    if found is None:
        raise Unavailable("pulumi: is not installed")
    environment = os.environ | {"PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        said = subprocess.run(
            [found, "version"], env=environment, capture_output=True, text=True, timeout=20, check=True, cwd="/"
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{found}: does not start ({error}); it is left alone") from None
    folder = Path(found).parent
    beside = Path(found).resolve().parent / "pulumi-language-python"
    host = beside.exists() or shutil.which("pulumi-language-python", path=path) is not None
    judge(said, language_host=host, at=found)
    return folder
