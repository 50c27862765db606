"""Ports of engines on a host's loopback address, chosen so that a growing stack never moves them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

WIDTH = 1000
"""How many ports a host keeps for engines."""


def assign(stack: str, replicas: Iterable[str], first: int, taken: Iterable[int] = ()) -> Mapping[str, int | None]:
    """A port for each replica of one host, None for those that find the range full.

    Each starts from a port that only its own name and the stack's decide, and takes the next free one. Earlier
    replicas come first, so what is added at the end of a stack file never moves what was there.
    """
    used = set(taken)
    ports: dict[str, int | None] = {}
    for name in replicas:
        start = int.from_bytes(hashlib.sha256(f"{stack}/{name}".encode()).digest()[:8]) % WIDTH
        candidates = (first + (start + step) % WIDTH for step in range(WIDTH))
        port = next((candidate for candidate in candidates if candidate not in used), None)
        ports[name] = port
        if port is not None:
            used.add(port)
    return ports
