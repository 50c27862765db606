"""A resource plugin in its PULUMI_HOME: there already, fetched by Pulumi itself, or built from Go modules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bootstrap import cache as caches
from bootstrap import gobuild
from bootstrap.cache import Cache
from bootstrap.errors import BootstrapError
from bootstrap.pins import FOLDER, Plugin
from bootstrap.progress import Progress

_FETCH_S = 300


def home() -> Path:
    """Where Pulumi looks for plugins: PULUMI_HOME, else this project's own."""
    own = os.environ.get("PULUMI_HOME")
    return Path(own).expanduser().absolute() if own else FOLDER.parent / ".berth/pulumi-home"


def ensure(plugin: Plugin, progress: Progress, source: str = "auto") -> Path:
    """The plugin's folder below PULUMI_HOME; makes it when it is not there.

    Args:
        plugin: which one.
        progress: where the lines go.
        source: one of `pulumi.SOURCES`; `auto` tries the others in their order.

    Raises:
        BootstrapError: no source has it.
    """
    folder = home() / "plugins" / plugin.folder
    program = folder / plugin.program.name
    if source in {"auto", "installed"} and program.is_file():
        return folder
    if source == "installed":
        raise BootstrapError(f"{program}: is not there, must be; run this without --source")
    if source in {"auto", "download"}:
        why = _fetch(plugin)
        if not why and program.is_file():
            return folder
        if source == "download":
            raise BootstrapError(f"{plugin.folder}: Pulumi cannot fetch it: {why}")
        progress.say(f"  {plugin.folder}: Pulumi cannot fetch it: {why}")
    _place(_built(plugin, progress), program)
    return folder


def _built(plugin: Plugin, progress: Progress) -> Path:
    cache = Cache(caches.root() / "plugins" / plugin.folder)
    recipe = gobuild.recipe(plugin.program)
    if not cache.has(plugin.program.name, recipe):
        with cache.lock(progress):
            gobuild.build(cache, progress, programs=(plugin.program,), scripts=())
    return cache.bin / plugin.program.name


def _place(built: Path, program: Path) -> None:
    """A link where both are on one disk: such a program has 90 MB."""
    program.parent.mkdir(parents=True, exist_ok=True)
    new = program.with_suffix(f".{os.getpid()}")
    try:
        os.link(built, new)
    except OSError:
        shutil.copy2(built, new)
    new.replace(program)


def _fetch(plugin: Plugin) -> str:
    """Asks Pulumi to install it; returns why it could not, empty when it did."""
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        return "there is no pulumi on PATH"
    environment = os.environ | {"PULUMI_HOME": str(home()), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    argv = [pulumi, "plugin", "install", "resource", plugin.name, f"v{plugin.version}"]
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=_FETCH_S, check=False, cwd="/"
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else f"it ended with {done.returncode}"
