"""Drops from a stack's state what lies on a host that is gone; nothing is asked of the host, nothing removed there.

For a machine that was given back or died, and for a host that was removed or renamed in the stack file, of which the
state still has resources that can be neither read nor deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from berth.facts.store import Store
from berth.lifecycle import ready
from berth.lifecycle.errors import LifecycleError
from berth.lifecycle.project import Project
from berth.lifecycle.pulumi import Pulumi
from berth.spec import SpecError, load

_OURS = "berth:"
_HOST = "berth:index:Host"
Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Forgetting:
    """What would be dropped, and the state without it. Secrets in it stay encrypted throughout."""

    pulumi: Pulumi
    host: str
    dropped: tuple[str, ...]
    """URNs, in the order of the state."""
    state: Mapping[str, Any]
    exported: str
    """The state as it was when this was worked out."""

    @property
    def lines(self) -> list[str]:
        """What is dropped, for the user: each resource by name and kind."""
        return [f"  {urn.rpartition('::')[2]} ({_kind(urn)})" for urn in self.dropped]

    def apply(self) -> None:
        """Writes the state back, under Pulumi's own lock.

        Raises:
            LifecycleError: the state is no longer the one that was shown, or cannot be written.
        """
        if self.dropped:
            if self.pulumi.call("stack", "export") != self.exported:
                raise LifecycleError(
                    f"stack {self.pulumi.stack}: its state was changed meanwhile, must be the one that was shown; "
                    "nothing was forgotten, run this again when no update is at work"
                )
            self.pulumi.call("stack", "import", text=json.dumps(self.state))
        Store(self.pulumi.project.root, self.pulumi.stack).forget(self.host)


def forgetting(host: str, stack: str, project: Project | None = None) -> Forgetting:
    """What forgetting a host comes to; nothing is changed yet.

    Raises:
        LifecycleError: the stack file still declares the host, or is not one; the state cannot be read.
    """
    project = project or Project.here()
    file = project.root / "stacks" / f"{stack}.yaml"
    try:
        declared = load(file).hosts
    except SpecError as error:
        raise LifecycleError("\n".join(str(problem) for problem in error.problems)) from None
    if host in declared:
        raise LifecycleError(
            f"stacks/{stack}.yaml: hosts.{host} is declared, must not be any more; remove it and what is placed on it, "
            f"then forget it. A machine that is only away for a while needs no forgetting"
        )
    pulumi = ready(project, stack)
    if not pulumi.exists():
        raise LifecycleError(
            f"stack {stack}: is not there, so that it knows no host; `pulumi stack ls` lists those that are"
        )
    exported = pulumi.call("stack", "export")
    state = json.loads(exported)
    deployment = state.get("deployment") or {}
    dropped = _of_host(deployment.get("resources") or [], host)
    left = {**state, "deployment": _without(deployment, set(dropped))}
    return Forgetting(pulumi, host, tuple(dropped), left, exported)


def _kind(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _of_host(resources: list[Resource], host: str) -> list[str]:
    """The URNs of what lies on a host, with all that lies below one of them, and of components left without anything.

    A component is the host's when it is its own, or when all below it that says its host says this one.
    """
    parents = {str(one["urn"]): str(one.get("parent") or "") for one in resources}
    lies = {str(one["urn"]): str(inputs["host"]) for one in resources if "host" in (inputs := one.get("inputs") or {})}

    def above(urn: str) -> Iterator[str]:
        while urn:
            yield urn
            urn = parents.get(urn, "")

    below: dict[str, set[str]] = {}
    for urn, name in lies.items():
        if _kind(urn).startswith(_OURS):
            for ancestor in above(urn):
                below.setdefault(ancestor, set()).add(name)
    gone = {
        urn
        for urn in parents
        if _kind(urn).startswith(_OURS)
        and (below.get(urn) == {host} or (_kind(urn) == _HOST and urn.rpartition("::")[2] == host))
    }
    return [urn for urn in parents if any(ancestor in gone for ancestor in above(urn))]


def _without(deployment: Mapping[str, Any], dropped: set[str]) -> dict[str, Any]:
    """A state without some of its resources, and without any mention of them."""
    pending = [
        operation
        for operation in deployment.get("pending_operations") or []
        if str(operation["resource"]["urn"]) not in dropped
    ]
    kept = [_unlinked(one, dropped) for one in deployment.get("resources") or [] if str(one["urn"]) not in dropped]
    return {**deployment, "resources": kept, "pending_operations": pending}


def _unlinked(resource: Resource, dropped: set[str]) -> dict[str, Any]:
    changed = dict(resource)
    if "dependencies" in changed:
        changed["dependencies"] = [urn for urn in changed["dependencies"] or [] if urn not in dropped]
    if "propertyDependencies" in changed:
        changed["propertyDependencies"] = {
            name: [urn for urn in urns or [] if urn not in dropped]
            for name, urns in (changed["propertyDependencies"] or {}).items()
        }
    if changed.get("deletedWith") in dropped:
        del changed["deletedWith"]
    return changed
