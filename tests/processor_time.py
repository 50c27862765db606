"""How long a command takes where nothing else runs: what it waits for processors is no property of the code."""

from __future__ import annotations

import resource


def of_children() -> float:
    """Processor time of all processes that have ended and were waited for, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
