"""An image with the real vLLM for CPU: a Debian with the environment that Berth makes of PyPI's packages.

It has 6 GB. Written in one go, from a root and an environment next to it, into the engine's own store.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from berth.engines.vllm import VLLM
from berth.provider.connection.local import LocalConnection
from berth.provider.host import Host
from berth.provider.operations.python_environment import PythonEnvironment, PythonEnvironmentWant
from tests.machines.engine import Engine
from tests.machines.image import DEBIAN_12, Layer, layer_image, root_image

VERSION = "0.32.0"

_PLACE = Path("/opt/berth-test-vllm")
"""Where the environment lies, here while it is made and in the image for good: its programs name their Python."""

_WITH_PYTHON = Layer(
    name="debian12-vllm",
    setup="""
apt-get update -qq
apt-get install -qq --yes --no-install-recommends python3 libgomp1 libnuma1
mkdir /run/lock 2> /dev/null || :
""",
    command=("sh",),
)
"""Debian 12's Python is 3.11, for which the environment is made."""


@contextlib.contextmanager
def vllm_image(engine: Engine) -> Iterator[str]:
    """The image for as long as the context lasts: it is too large to be kept."""
    root = layer_image(engine, root_image(engine, DEBIAN_12), _WITH_PYTHON)
    name = f"berth-test-vllm:{VERSION}"
    try:
        try:
            with tempfile.TemporaryDirectory(prefix="berth-vllm-") as folder:
                _export(engine, root, Path(folder))
                asyncio.run(_environment())
                _at_home_there()
                _import(engine, name, Path(folder))
        finally:
            subprocess.run(["rm", "-rf", str(_PLACE)], check=True)
        yield name
    finally:
        engine.run("image", "rm", "--force", name)


def _export(engine: Engine, image: str, folder: Path) -> None:
    """A root as files."""
    container = engine.out("create", image)
    try:
        with subprocess.Popen(engine.argv("export", container), stdout=subprocess.PIPE) as export:
            subprocess.run(["tar", "-x", "-C", str(folder)], stdin=export.stdout, check=True)
    finally:
        engine.run("rm", container)


async def _environment() -> None:
    """The environment as Berth makes it on a host; quick where uv has the packages."""
    package = VLLM.packaged(VERSION, "cpu")
    assert package is not None
    want = PythonEnvironmentWant(
        host="here",
        path=str(_PLACE),
        python=package.python,
        requirements=list(package.requirements),
        overrides=list(package.overrides),
        overlay=dict(package.overlay),
        uv=str(Path(sys.executable).with_name("uv")),
    )
    host = Host(name="here", workspace=str(_PLACE.parent), connection=LocalConnection("here"), say=lambda _line: None)
    await PythonEnvironment().converge(host, want, want)


def _at_home_there() -> None:
    """Its Python is the image's, wherever this machine has its own."""
    python = _PLACE / "bin/python"
    python.unlink()
    python.symlink_to("/usr/bin/python3.11")
    settings = _PLACE / "pyvenv.cfg"
    settings.write_text(re.sub("^home = .*$", "home = /usr/bin", settings.read_text(), flags=re.MULTILINE))


def _import(engine: Engine, name: str, root: Path) -> None:
    changes = (f"ENV PATH={_PLACE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 'CMD ["vllm"]')
    said = engine.argv("import", *(word for change in changes for word in ("--change", change)), "-", name)
    parts = ["-C", str(root), ".", "-C", str(_PLACE.parent), "--transform", f"s,^{_PLACE.name},opt/&,", _PLACE.name]
    with subprocess.Popen(["tar", "-c", *parts], stdout=subprocess.PIPE) as tar:
        subprocess.run(said, stdin=tar.stdout, check=True, capture_output=True, timeout=900)
    assert tar.returncode == 0
