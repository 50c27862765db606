"""How the facts of a machine are gathered: one POSIX-sh script, and what its answer says.

Each module here is one theme: the part of the script that asks (`SCRIPT`), and the function that reads its sections.
The script only reads, needs no Python, and asks everything of the host in one round trip. No probe can fail the others:
what is not there stays empty, what may not be read is said in `unread`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from berth.facts.gathering import docker, driver, files, gpus, packages, system, topology, units
from berth.facts.gathering.sections import sections
from berth.facts.model import HostFacts

__all__ = ["AFTER_SUDO", "SCRIPT", "parse"]

_BEGIN = r"""
LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/snap/bin
export LC_ALL PATH
exec 2> /dev/null
set +eu
part() { printf '\n\036berth %s\n' "$1"; }
has() { command -v "$1" > /dev/null; }
within() { limit=$1; shift; if has timeout; then timeout "$limit" "$@"; else "$@"; fi; }
user=$1 home=$2 refused=$3
"""

# What takes long answers into a pipe while the rest is asked; standard input of `rest` is never read.
_TOGETHER = r"""
gpus < /dev/null | {
  exec 3<&0
  packages < /dev/null | {
    exec 4<&0
    docker_engine < /dev/null | { rest < /dev/null; cat; }
    cat <&4
  }
  cat <&3
}
part end
"""

_REST = (system, driver, units, files)

_GATHER: Final = "".join(
    [
        _BEGIN,
        "gpus() {",
        gpus.SCRIPT,
        topology.SCRIPT,
        "}\npackages() {",
        packages.SCRIPT,
        "}\ndocker_engine() {",
        docker.SCRIPT,
        "}\nrest() {",
        *(theme.SCRIPT for theme in _REST),
        "}\n",
        _TOGETHER,
    ]
)

# As root where that is to be had without a question; `user` and `home` are always those of the login.
_AS_ROOT: Final = r"""
user=$(id -un) home=$HOME refused=
if [ "${1-}" = sudo ]; then
  user=${SUDO_USER:-$(id -un)}
  home=$(getent passwd "$user" | cut -d: -f6)
elif [ "$(id -u)" != 0 ]; then
  if command -v sudo > /dev/null; then
    # What it asks goes to 3, what sudo complains of into the answer; bash opens 3 in time only around all of it.
    { if refused=$(sudo -n -- sh -c "$gather" gather "$user" "$home" '' 2>&1 >&3 3>&-); then exit 0; fi; } 3>&1
    refused=${refused:-sudo refuses}
  else
    refused='there is no sudo'
  fi
fi
set +eu
set -- "$user" "$home" "$refused"
eval "$gather"
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


SCRIPT: Final = f"gather={_quoted(_GATHER)}\n{_AS_ROOT}"
"""Asks everything: as root where the login is root or its sudo asks nothing, and with what the login may read else."""

AFTER_SUDO: Final = "sudo"
"""The script's `$1` where it is run by sudo itself, as where sudo asks for a password: the login is SUDO_USER."""


def parse(text: str, now: datetime | None = None) -> HostFacts:
    """The facts in what the script wrote, gathered `now`.

    Raises:
        ValueError: the text is not the script's, or not all of it.
    """
    found = sections(text)
    if "end" not in found or "login" not in found:
        raise ValueError("the answer to the question for the machine's facts is cut off")
    unread: dict[str, str] = {}
    read: dict[str, Any] = system.read(found, unread)
    root = not read.pop("refused")
    os, architecture, kernel = read["os"], read["architecture"], read["kernel"]
    read |= _theme("gpus", unread, lambda: gpus.read(found, unread))
    read |= _theme("links", unread, lambda: topology.read(found))
    read |= _theme("packages", unread, lambda: packages.read(found, os=os, architecture=architecture, kernel=kernel))
    version, there = read.pop("driver_of_gpus", None), read.get("packages", {})
    read |= _theme(
        "driver", unread, lambda: {"driver": driver.read(found, unread, gpus=version, packages=there, root=root)}
    )
    read["initramfs"] = driver.initramfs(found)
    read |= _theme("docker", unread, lambda: docker.read(found, unread, root=root))
    read |= _theme("units", unread, lambda: {"units": units.read(found)})
    read |= _theme("files", unread, lambda: {"files": files.read(found, unread)})
    return HostFacts(gathered=now or datetime.now(UTC), root=root, unread=unread, **read)


def _theme(name: str, unread: dict[str, str], read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What one theme reads; an answer that it does not understand is said in `unread` and leaves the others alone."""
    try:
        return read()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        unread[name] = f"its answer is not understood ({error})"
        return {}
