"""Addresses for the pods of a test cluster, of the block that is kept for tests of networks: no machine has them.

Each process has a part of its own, since clusters of two test runs are beside each other on one machine.
"""

from __future__ import annotations

import fcntl
import functools
from ipaddress import IPv4Network

from tests.machines.engine import Unavailable, cache_folder

_BLOCK = IPv4Network("198.19.0.0/16")
_LENGTH = 22
_HELD = []
"""Open files: their locks go with the process."""


@functools.cache
def pods() -> str:
    """The part of this process.

    Raises:
        Unavailable: other processes have them all.
    """
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(_BLOCK.subnets(new_prefix=_LENGTH)):
        file = (locks / f"pods-{number}").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _HELD.append(file)
        return str(part)
    raise Unavailable(f"all addresses of {_BLOCK} are taken by other test runs")
