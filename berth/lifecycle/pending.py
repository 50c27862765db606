"""Operations that a killed run began and never recorded the end of.

Pulumi keeps them in the state through later updates and even a destroy, and warns each time. Here they are dropped:
each resource of ours converges when it is created or updated again, by adopting what is there, and a host's workspace
sweeps what no state knows when it is deleted. Refreshing with `--clear-pending-creates` would do the same, but asks
every machine first, and fails when one is away.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from berth.lifecycle.pulumi import Pulumi

_OURS = "berth:"


@dataclass(frozen=True)
class Left:
    """What a killed run left in a state."""

    lines: list[str]
    """What was dropped, for the user."""
    empty: bool
    """Whether the state knows no resource at all."""


def clear(pulumi: Pulumi) -> Left:
    """Drop the pending operations of a stack that no run holds.

    Raises:
        LifecycleError: the state cannot be read or written.
    """
    checkpoint = json.loads(pulumi.call("stack", "export"))
    deployment = checkpoint.get("deployment") or {}
    operations = deployment.pop("pending_operations", None) or []
    if operations:
        pulumi.call("stack", "import", text=json.dumps(checkpoint))
    return Left(
        lines=[_line(pulumi.stack, operation) for operation in operations],
        empty=not deployment.get("resources"),
    )


def _line(stack: str, operation: dict[str, Any]) -> str:
    urn, what = str(operation["resource"]["urn"]), str(operation["type"])
    token, name = urn.split("::")[2].rpartition("$")[2], urn.rpartition("::")[2]
    line = f"stack {stack}: forgot that a killed run was {what} {name} ({token})"
    if what == "creating":
        line += "; what it made is taken over" if token.startswith(_OURS) else "; look whether it left one behind"
    return line
