"""Pulumi from the first source that has it: what is installed, the official release, a build from Go modules."""

from __future__ import annotations

from pathlib import Path

from bootstrap import cache as caches
from bootstrap import download, gobuild, installed
from bootstrap.cache import Cache
from bootstrap.errors import BootstrapError, Unavailable
from bootstrap.pins import NAMES, PROGRAMS, PULUMI, SCRIPTS
from bootstrap.progress import Progress

SOURCES = ("auto", "installed", "download", "build")


def ensure(progress: Progress, source: str = "auto") -> Path:
    """The folder with `pulumi` and its Python language host; makes it when there is none.

    Args:
        progress: where the lines go.
        source: one of SOURCES; `auto` tries the others in their order.

    Raises:
        BootstrapError: no source has it; says why each had not.
    """
    folder = caches.root() / "pulumi" / PULUMI
    why: list[str] = []
    if source in {"auto", "installed"}:
        try:
            return installed.find(folder / "home")
        except Unavailable as error:
            why.append(str(error))
    if source == "installed":
        raise BootstrapError(why[-1])
    cache = Cache(folder)
    if not _complete(cache, source):
        _make(cache, progress, source, why)
    return cache.bin


def _complete(cache: Cache, source: str) -> bool:
    built = {item.name: gobuild.recipe(item) for item in (*PROGRAMS, *SCRIPTS)}
    released = dict.fromkeys(NAMES, download.RECIPE)
    return (source != "download" and cache.complete(built)) or (source != "build" and cache.complete(released))


def _make(cache: Cache, progress: Progress, source: str, why: list[str]) -> None:
    try:
        with cache.lock(progress):
            if _complete(cache, source):  # another bootstrap made it while this one waited
                return
            if source in {"auto", "download"}:
                try:
                    download.fetch(cache, progress)
                except Unavailable as error:
                    why.append(str(error))
                else:
                    return
            if source == "download":
                raise BootstrapError(why[-1])
            for line in why:
                progress.say(f"  {line}")
            gobuild.build(cache, progress)
    except OSError as error:
        raise BootstrapError(
            f"{cache.folder}: cannot be written ({error.strerror or error}), must be; set BERTH_CACHE_DIR"
        ) from None
