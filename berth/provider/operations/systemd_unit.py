"""A unit of systemd: its own file or a drop-in beside another's, whether it starts at boot, and whether it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want


class SystemdUnitWant(Want):
    """A unit such as `docker.service`.

    `content` is that of its own file, or with `drop_in` (a name such as `10-berth`) that of a file in UNIT.d; empty, no
    file is declared. `enabled` and `active` None leave those as they are. With `restart` an active unit is restarted
    when its content changes, since what runs has the old one.

    A changed file needs a daemon-reload, which takes the GPUs from containers that got them in legacy mode. Where such
    containers run, that is refused, unless `reload` says that they may lose them.

    `loaded` is there to be observed: whether systemd has read the file as it is.
    """

    unit: str = Field(pattern=r"^[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|path|target|mount|slice)$")
    drop_in: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$")
    content: str = ""
    enabled: bool | None = None
    active: bool | None = None
    restart: bool = False
    reload: bool = False
    loaded: bool = True
    on_destroy: Literal["keep", "remove"] = "keep"

    @model_validator(mode="after")
    def _sayable(self) -> Self:
        if self.drop_in and not self.content:
            raise ValueError("drop_in is given without content, must have what the drop-in says")
        return self

    @property
    def path(self) -> str:
        """The file that is declared."""
        unit = f"/etc/systemd/system/{self.unit}"
        return f"{unit}.d/{self.drop_in}.conf" if self.drop_in else unit


class SystemdUnit(FactOperation[SystemdUnitWant]):
    """Declares a unit of systemd."""

    kind = "berth:host:SystemdUnit"
    wants = SystemdUnitWant
    replace = frozenset({"host", "unit", "drop_in"})

    def identity(self, want: SystemdUnitWant) -> str:
        """The file's path on its host."""
        return f"{want.host}:{want.path}"

    def seen(self, facts: HostFacts, want: SystemdUnitWant) -> SystemdUnitWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: SystemdUnitWant | None, have: SystemdUnitWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
