"""Operations that a killed run began and never recorded the end of.

Pulumi keeps them in the state through later updates and even a destroy, and warns each time. Here they are dropped:
each resource of ours converges when it is created or updated again, by adopting what is there. Refreshing with
`--clear-pending-creates` would do the same, but asks every machine first, and fails when one is away.
"""

from __future__ import annotations

import json

from berth.lifecycle.pulumi import Pulumi

_OURS = "berth:"


def clear(pulumi: Pulumi) -> list[str]:
    """Drop the pending operations of a stack that no run holds.

    Returns:
        A line for each, for the user.

    Raises:
        LifecycleError: the state cannot be read or written.
    """
    checkpoint = json.loads(pulumi.call("stack", "export"))
    deployment = checkpoint.get("deployment") or {}
    operations = deployment.pop("pending_operations", None) or []
    if not operations:
        return []
    pulumi.call("stack", "import", text=json.dumps(checkpoint))
    return [_line(pulumi.stack, operation) for operation in operations]


def _line(stack: str, operation: dict[str, dict[str, str]]) -> str:
    urn, what = str(operation["resource"]["urn"]), str(operation["type"])
    token, name = urn.split("::")[2].rpartition("$")[2], urn.rpartition("::")[2]
    line = f"stack {stack}: forgot that a killed run was {what} {name} ({token})"
    if what == "creating":
        line += "; what it made is taken over" if token.startswith(_OURS) else "; look whether it left one behind"
    return line
