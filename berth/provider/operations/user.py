"""An account on a host and the groups it must be in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from berth.facts import HostFacts
from berth.provider.command import Command
from berth.provider.operation import FactOperation, Want

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]


class UserWant(Want):
    """An account that is in `groups` and may be in others. An account is made when missing and never removed.

    `home` and `system` (a service's account, without a login) count when it is made; home empty is the system's usual
    place, or none for a service. A group that does not exist is made.
    """

    name: AccountName
    groups: list[AccountName] = []
    home: str = Field(default="", pattern=r"^(/[^:\n]*)?$")
    system: bool = False
    on_destroy: Literal["keep", "remove"] = "keep"


class User(FactOperation[UserWant]):
    """Declares an account."""

    kind = "berth:host:User"
    wants = UserWant
    replace = frozenset({"host", "name"})

    def identity(self, want: UserWant) -> str:
        """Its name on its host."""
        return f"{want.host}:user:{want.name}"

    def seen(self, facts: HostFacts, want: UserWant) -> UserWant | None:
        """To come."""
        raise NotImplementedError

    def steps(self, want: UserWant | None, have: UserWant | None) -> Sequence[Command]:
        """To come."""
        raise NotImplementedError
