"""State files that a killed run left half written.

A file backend writes a stack's state in place and keeps the one before as `.bak`. A kill between leaves an empty or cut
file, on which every command fails with `EOF`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def mend(state: Path, project: str, stack: str, say: Callable[[str], None]) -> None:
    """Bring back the state before, or drop a first one that was never finished; call it when no run holds the stack.

    Args:
        state: the folder of the file backend.
        project: the project's name.
        stack: the stack's name.
        say: takes a line for the user.
    """
    file = state / ".pulumi" / "stacks" / project / f"{stack}.json"
    if not file.exists() or _whole(file):
        return
    before = file.with_name(f"{file.name}.bak")
    if before.exists() and _whole(before):
        before.replace(file)
        say(f"stack {stack}: its state was half written by a killed run; the one before is back")
    else:
        file.unlink()
        say(f"stack {stack}: its first state was half written by a killed run; dropped")


def _whole(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True
