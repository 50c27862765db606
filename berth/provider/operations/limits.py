"""Limits of logins, as pam_limits sets them: they hold from the next login on, and not for systemd's services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want


class Limit(BaseModel):
    """One line: whose (`*`, a user, or @ and a group), `kind` (`-` is both), what, and how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: Annotated[str, StringConstraints(pattern=r"^(\*|[@%]?[A-Za-z0-9_][A-Za-z0-9_.-]*)$")]
    kind: Literal["soft", "hard", "-"] = "-"
    item: Literal["memlock", "nofile", "nproc", "stack", "core", "as", "rtprio", "nice"]
    value: Annotated[str, StringConstraints(pattern=r"^(-?[0-9]+|unlimited)$")]


class LimitsWant(Want):
    """Limits. `name` is that of their file in /etc/security/limits.d."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    limits: list[Limit] = Field(min_length=1)
    on_destroy: Literal["keep", "remove"] = "keep"


class Limits(FactOperation[LimitsWant]):
    """Declares limits of logins."""

    kind = "berth:host:Limits"
    wants = LimitsWant
    replace = frozenset({"host", "name"})

    def identity(self, want: LimitsWant) -> str:
        """The file's name on its host."""
        return f"{want.host}:limits:{want.name}"

    def seen(self, facts: HostFacts, want: LimitsWant) -> LimitsWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: LimitsWant | None, have: LimitsWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
