"""What the stand-in packages hold that must be compiled or read from tests/machines/stand_in/driver."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.machines.engine import Unavailable, install

FOLDER = Path(__file__).resolve().parents[1] / "stand_in" / "driver"


def script(name: str, **values: str) -> bytes:
    """A file as it is, with `@NAME@` replaced."""
    text = (FOLDER / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", value)
    return text.encode()


def compiled(source: str, *options: str, **macros: str) -> bytes:
    """A C file compiled by gcc; `macros` are strings in the program.

    Raises:
        Unavailable: there is no compiler here.
    """
    install({"gcc": "gcc"})
    defined = [f'-D{name.upper()}="{value}"' for name, value in macros.items()]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made")
        argv = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", *options, *defined, "-o", str(made), str(FOLDER / source)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"{source}: {done.stderr}")
        return made.read_bytes()


def library(source: str, soname: str, cuda: int, **macros: str) -> bytes:
    """A shared library with its own name in it, which ldconfig makes links of."""
    return compiled(source, "-shared", "-fPIC", f"-Wl,-soname,{soname}", f"-DCUDA={cuda}", **macros)


def module(version: str, licence: str) -> bytes:
    """A kernel module as far as modinfo and depmod read it."""
    return compiled("module.c", "-c", version=version, license=licence)


def daemon(name: str, pidfile: str, *options: str) -> bytes:
    """A daemon that keeps a folder of its name below /run."""
    return compiled("daemon.c", *options, name=name, pidfile=pidfile)
