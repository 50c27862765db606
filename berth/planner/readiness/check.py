"""A check as a value, and what checks are about: one host of the plan and the machine as it was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from berth.facts import HostFacts
from berth.planner.plan import HostPlan, ReplicaPlan

Part = Literal["driver", "docker", "container_toolkit", "fabric_manager"]
"""What can be declared in `prerequisites` to make a check pass."""


class State(StrEnum):
    """How a check ends."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at: what it is, what it must be, what to do about it.

    `about` is the thing in a word or two; `must` and `todo` are empty where all is well. `part` is what installs it.
    """

    state: State
    about: str
    have: str
    must: str = ""
    todo: str = ""
    part: Part | None = None

    def __str__(self) -> str:
        must = f", must be {self.must}" if self.must else ""
        return f"{self.have}{must}" + (f"; {self.todo}" if self.todo else "")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One host of the plan, what runs there, and the machine as it was found."""

    host: HostPlan
    replicas: Sequence[ReplicaPlan]
    facts: HostFacts

    @property
    def needs_gpus(self) -> bool:
        """Whether anything there is planned on a GPU."""
        return bool(self.host.cards) or any(replica.engine.device == "cuda" for replica in self.replicas)

    @property
    def needs_docker(self) -> bool:
        """Whether containers run there, or are declared to be able to."""
        return self.host.runtime == "docker" or bool({"docker", "container_toolkit"} & self.host.declares)

    @property
    def needs_toolkit(self) -> bool:
        """Whether containers get GPUs there."""
        return (self.host.runtime == "docker" and self.needs_gpus) or "container_toolkit" in self.host.declares

    def install(self, part: Part, by_hand: str) -> str:
        """What to do about something that is missing: `up` brings what is declared."""
        if self.facts.guest:
            return "choose a machine whose image or host has it"
        if part in self.host.declares:
            return "`pulumi up` brings it"
        return f"{by_hand}, or declare hosts.{self.host.name}.prerequisites.{part}"


def ok(about: str, have: str, part: Part | None = None) -> Check:
    """All is well."""
    return Check(state=State.OK, about=about, have=have, part=part)


def fail(about: str, have: str, must: str, todo: str, part: Part | None = None) -> Check:
    """What keeps the plan from working."""
    return Check(state=State.FAIL, about=about, have=have, must=must, todo=todo, part=part)


def warn(about: str, have: str, must: str, todo: str, part: Part | None = None) -> Check:
    """What works now and may not for long."""
    return Check(state=State.WARN, about=about, have=have, must=must, todo=todo, part=part)


def unknown(about: str, have: str, todo: str, part: Part | None = None) -> Check:
    """What could not be seen."""
    return Check(state=State.UNKNOWN, about=about, have=have, todo=todo, part=part)
