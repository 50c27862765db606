"""Puts the stand-in engine where an environment with vLLM would be."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("vllm.py")

START = """#!/bin/sh
here=$(dirname -- "$0")
exec "$here/python" -I -S "$here/../vllm.py" "$@"
"""


def install(folder: Path, python: str | None = None) -> Path:
    """Makes `folder/bin/vllm` and `folder/bin/python`; returns the folder, which serves as an engine's environment.

    `python` is the interpreter on the host that will run it; without one, this process's own.
    """
    binaries = folder / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    interpreter = binaries / "python"
    interpreter.unlink(missing_ok=True)
    interpreter.symlink_to(python or os.path.realpath(sys.executable))
    (folder / "vllm.py").write_text(SOURCE.read_text())
    program = binaries / "vllm"
    program.write_text(START)
    program.chmod(0o755)
    return folder


_SGLANG = """#!/bin/sh
here=$(dirname -- "$0")
if [ "${1-} ${2-}" = "-m sglang.launch_server" ]; then
  shift 2
  set -- "$here/../sglang_server.py" "$@"
fi
exec "$here/real-python" "$@"
"""


def install_sglang(folder: Path) -> Path:
    """The same for SGLang, which is a module of its environment's Python."""
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    (binaries / "real-python").symlink_to(os.path.realpath(sys.executable))
    python = binaries / "python"
    python.write_text(_SGLANG)
    python.chmod(0o755)
    for name in ("vllm.py", "sglang_server.py"):
        (folder / name).write_text(SOURCE.with_name(name).read_text())
    return folder


def configure(folder: Path, **settings: object) -> None:
    """Sets what the next starts do; the settings are those of vllm.py."""
    (folder / "standin.json").write_text(json.dumps(settings))
