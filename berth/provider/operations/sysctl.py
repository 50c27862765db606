"""Settings of the kernel: in force now, and again after each boot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want

Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+([./][A-Za-z0-9_:-]+)+$")]
Value = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:/|%+-]+( [A-Za-z0-9_.,:/|%+-]+)*$")]


class SysctlWant(Want):
    """Settings by their names with dots (`vm.max_map_count`). `name` is that of their file in /etc/sysctl.d.

    `boot` is there to be observed: whether that file says what is declared.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    values: dict[Key, Value] = Field(min_length=1)
    boot: Literal["as declared", "other", "missing"] = "as declared"
    on_destroy: Literal["keep", "remove"] = "keep"


class Sysctl(FactOperation[SysctlWant]):
    """Declares settings of the kernel."""

    kind = "berth:host:Sysctl"
    wants = SysctlWant
    replace = frozenset({"host", "name"})

    def identity(self, want: SysctlWant) -> str:
        """The file's name on its host."""
        return f"{want.host}:sysctl:{want.name}"

    def seen(self, facts: HostFacts, want: SysctlWant) -> SysctlWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: SysctlWant | None, have: SysctlWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
