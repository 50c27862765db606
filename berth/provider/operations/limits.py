"""Limits of logins, as pam_limits sets them: they hold from the next login on, and not for systemd's services."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from berth.facts import HostFacts
from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want

_REMOVE = """
rm -f -- "$1"
"""


class Limit(BaseModel):
    """One line: whose (`*`, a user, or @ and a group), `kind` (`-` is both), what, and how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: Annotated[str, StringConstraints(pattern=r"^(\*|[@%]?[A-Za-z0-9_][A-Za-z0-9_.-]*)$")]
    kind: Literal["soft", "hard", "-"] = "-"
    item: Literal["memlock", "nofile", "nproc", "stack", "core", "as", "rtprio", "nice"]
    value: Annotated[str, StringConstraints(pattern=r"^(-?[0-9]+|unlimited)$")]


class LimitsWant(Want):
    """Limits. `name` is that of their file in /etc/security/limits.d.

    `nr_open` is fs.nr_open as the stack itself sets it, 0 where it leaves that to the kernel.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    limits: list[Limit] = Field(min_length=1)
    nr_open: int = Field(default=0, ge=0)
    on_destroy: Literal["keep", "remove"] = "keep"

    @property
    def path(self) -> str:
        """The file that pam_limits reads, after the system's own."""
        return f"/etc/security/limits.d/90-berth-{self.name}.conf"


class Limits(FactOperation[LimitsWant]):
    """Declares limits of logins."""

    kind = "berth:host:Limits"
    wants = LimitsWant
    replace = frozenset({"host", "name"})

    def identity(self, want: LimitsWant) -> str:
        """The file's name on its host."""
        return f"{want.host}:limits:{want.name}"

    def seen(self, facts: HostFacts, want: LimitsWant) -> LimitsWant | None:
        """The lines of the file; an edit that is more than other lines counts as none."""
        file = facts.files.get(want.path)
        if file is None:
            return None
        found = list(_read(file.content or ""))
        return want.model_copy(update={"limits": found if file.content == _text(found) else []})

    def steps(self, want: LimitsWant | None, have: LimitsWant | None) -> Sequence[Command]:
        """One whole file."""
        if want is None:
            return [] if have is None else [shell(_REMOVE, have.path, says=f"removing {have.path}", root=True)]
        if have is not None and have.limits == want.limits:
            return []
        return [put(want.path, _text(want.limits), root=True)]

    async def preflight(self, host: Host, want: LimitsWant) -> None:
        """More open files than the kernel allows: pam_limits then refuses every session (linux-pam issue 353)."""
        known = (await host.facts()).sysctl.get("fs.nr_open", "")
        most = want.nr_open or (int(known) if known.isdigit() else 0)
        for limit in want.limits:
            much = limit.value in {"unlimited", "-1"} or int(limit.value) > most
            if limit.item == "nofile" and most and much:
                raise BadInput(
                    f"{host.name}: the limit nofile is {limit.value}, must be at most {most}, the kernel's fs.nr_open: "
                    "with more nobody can log in any more; lower it, or raise fs.nr_open under sysctl"
                )


def _text(limits: Sequence[Limit]) -> str:
    return "".join(f"{limit.domain} {limit.kind} {limit.item} {limit.value}\n" for limit in limits)


def _read(text: str) -> Iterator[Limit]:
    for line in text.splitlines():
        words = line.split()
        with contextlib.suppress(ValidationError):
            yield Limit.model_validate(dict(zip(Limit.model_fields, words, strict=False)))
