"""What can go wrong for a reason that the user can act on, and how tools say it.

BootstrapError: a prerequisite is missing or a step failed
  Unavailable:  one way of getting something does not work here; another may
"""

from __future__ import annotations

import re
from dataclasses import dataclass


class BootstrapError(Exception):
    """Says where, what is, what must be and what to do."""


class Unavailable(BootstrapError):
    """This source cannot give it; the next one is asked."""


@dataclass(frozen=True)
class _Cause:
    pattern: re.Pattern[str]
    message: str


_CAUSES = (
    _Cause(
        re.compile(r"no space left on device", re.IGNORECASE),
        "disk: is full, must have room; free some, or point {where} elsewhere",
    ),
    _Cause(
        re.compile(r"go\.mod requires go >= (?P<want>\S+)|requires go1\.\d+ or later", re.IGNORECASE),
        "go: is too old, must be 1.26 or newer; install it from your distribution or go.dev/dl",
    ),
    _Cause(
        re.compile(
            r"no such host|connection refused|i/o timeout|TLS handshake timeout|network is unreachable"
            r"|name resolution|failed to resolve|dns error|NewConnectionError|ConnectTimeout"
            r"|error trying to connect|error sending request|Failed to fetch",
            re.IGNORECASE,
        ),
        "{registry}: cannot be reached, must be; check the network, or name a mirror in {mirror}",
    ),
    _Cause(
        re.compile(r"SECURITY ERROR|checksum mismatch", re.IGNORECASE),
        "{registry}: serves a module whose checksum differs from go.sum; do not go on, ask who runs the mirror",
    ),
    _Cause(
        re.compile(r"signal: killed|out of memory|cannot allocate memory", re.IGNORECASE),
        "memory: ran out while building, about 4 GiB must be free; end other programs and run again",
    ),
)


def explain(output: str, *, registry: str, mirror: str, where: str) -> str:
    """What a failed tool's output means, in one line with the thing to do; the tool's own last lines when unknown.

    Args:
        output: what the tool wrote.
        registry: the registry it uses, as users call it.
        mirror: the setting that names a mirror of it.
        where: the settings that say where it writes.
    """
    for cause in _CAUSES:
        found = cause.pattern.search(output)
        if found:
            line = next(line for line in output.splitlines() if found.group(0).splitlines()[0] in line)
            meaning = cause.message.format(registry=registry, mirror=mirror, where=where)
            return f"{meaning}\n  ({line.strip()[:300]})"
    tail = [line for line in output.splitlines() if line.strip()][-8:]
    return "the tool's last lines:\n  " + "\n  ".join(tail or ["(it wrote nothing)"])
