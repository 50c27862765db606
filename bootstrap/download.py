"""The official release, where there is open internet."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tarfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from bootstrap.cache import Cache
from bootstrap.errors import Unavailable
from bootstrap.pins import NAMES, PULUMI
from bootstrap.progress import Progress

RECIPE = f"release {PULUMI}"

_PROBE_S = 4
_READ_S = 60
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def site() -> str:
    """Where releases lie; PULUMI_RELEASES names a mirror (Pulumi's own layout below it)."""
    return os.environ.get("PULUMI_RELEASES", "https://get.pulumi.com/releases/sdk").rstrip("/")


def archive(system: str, machine: str) -> str:
    """The name of the release's archive for a system and machine, as `platform` names them.

    Raises:
        Unavailable: there is no release for them.
    """
    if system not in _SYSTEMS or machine not in _MACHINES:
        raise Unavailable(f"official release: has nothing for {system} on {machine}")
    return f"pulumi-v{PULUMI}-{_SYSTEMS[system]}-{_MACHINES[machine]}.tar.gz"


def fetch(cache: Cache, progress: Progress) -> None:
    """Put the official release into the cache; called by the holder of its lock.

    Raises:
        Unavailable: the site is not reachable, or what it gives is not what its checksums say.
    """
    name = archive(platform.system(), platform.machine())
    digest = _digest(name)
    with cache.workplace() as folder:
        progress.say(f"downloading Pulumi {PULUMI}, about 100 MB")
        file = folder / name
        if _save(f"{site()}/{name}", file, progress) != digest:
            raise Unavailable(f"{site()}/{name}: is not what the release's checksums say; not used")
        for member in _unpack(file, folder):
            cache.put(member.name, member, RECIPE)


def _digest(name: str) -> str:
    """The published SHA-256 of an archive; asking for it is the probe whether the site can be reached."""
    url = f"{site()}/pulumi-{PULUMI}-checksums.txt"
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_S) as answer:  # noqa: S310 -- a constant https address, or the user's own mirror
            text: str = answer.read(1 << 20).decode()
    except (OSError, ValueError, HTTPException) as error:
        raise Unavailable(f"official release: {url} cannot be read ({_reason(error)})") from None
    for line in text.splitlines():
        digest, _, file = line.partition(" ")
        if file.strip().lstrip("*") == name:
            return digest
    raise Unavailable(f"official release: {url} does not list {name}")


def _save(url: str, file: Path, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=_READ_S) as answer, file.open("wb") as out:  # noqa: S310 -- as above
            total = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(1 << 20):
                out.write(block)
                digest.update(block)
                done += len(block)
                progress.tick(f"  {done / 1e6:.0f} of {total / 1e6:.0f} MB")
    except (OSError, ValueError, HTTPException) as error:
        raise Unavailable(f"{url}: stopped after {done / 1e6:.0f} MB ({_reason(error)})") from None
    return digest.hexdigest()


def _unpack(file: Path, folder: Path) -> list[Path]:
    """The plain files of the archive, by their own names alone: it holds one folder `pulumi` of executables."""
    members: list[Path] = []
    try:
        with tarfile.open(file) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    target = folder / Path(member.name).name
                    with target.open("wb") as out:
                        shutil.copyfileobj(content, out)
                    members.append(target)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Unavailable(f"{file.name}: cannot be unpacked ({error})") from None
    missing = set(NAMES) - {path.name for path in members}
    if missing:
        raise Unavailable(f"{file.name}: has no {', '.join(sorted(missing))}")
    return members


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)
