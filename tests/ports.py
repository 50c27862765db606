"""Ports of loopback for tests, that nobody else is given: neither another test process nor the kernel's own choice.

A port that was asked of the kernel and let go again is in its range for outgoing connections, so that anything may have
taken it by the time a server binds it. These are below that range, from a block that this process holds alone.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

FIRST, LAST = 10000, 32000  # the kernel's range begins at 32768
BLOCK = 400

_held: dict[int, tuple[IO[str], Iterator[int]]] = {}
"""The lock and the ports of each process; a child of a fork takes a block of its own."""


def free_ports(count: int) -> list[int]:
    """Ports next to each other on which nobody listens.

    Raises:
        RuntimeError: no block is free: too many test processes at once.
    """
    while True:
        ports = list(itertools.islice(_ports(), count))
        if ports[-1] - ports[0] == count - 1 and all(map(_is_free, ports)):
            return ports


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def _ports() -> Iterator[int]:
    if os.getpid() not in _held:
        _held[os.getpid()] = _take_block()
    return _held[os.getpid()][1]


def _take_block() -> tuple[IO[str], Iterator[int]]:
    folder = Path(tempfile.gettempdir(), f"berth-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for first in range(FIRST, LAST, BLOCK):
        lock = (folder / str(first)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return lock, itertools.cycle(range(first, first + BLOCK))
    raise RuntimeError(f"all blocks of test ports in {folder} are held by other test processes")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do; what closed lately is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
