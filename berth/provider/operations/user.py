"""An account on a host and the groups it must be in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from berth.catalogue.patterns import ACCOUNT
from berth.facts import HostFacts
from berth.provider.command import Command, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want

AccountName = Annotated[str, StringConstraints(pattern=ACCOUNT)]


_JOIN = """
name=$1
shift
for group do
  if ! getent group "$group" > /dev/null; then groupadd -- "$group"; fi
  usermod --append --groups "$group" -- "$name"
done
"""

_LEAVE = """
name=$1
shift
for group do gpasswd --delete "$name" "$group"; done
"""


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
        """Those of the groups that it is in; None without the account."""
        groups = facts.users.get(want.name)
        if groups is None:
            return None
        return want.model_copy(update={"groups": [group for group in want.groups if group in groups]})

    def steps(self, want: UserWant | None, have: UserWant | None) -> Sequence[Command]:
        """The account where it is missing, then the groups that it is not in."""
        if want is None:
            if have is None or not have.groups:
                return []
            says = f"taking {have.name} out of {', '.join(have.groups)}"
            return [shell(_LEAVE, have.name, *have.groups, says=says, root=True)]
        commands = [] if have is not None else [_add(want)]
        if missing := [group for group in want.groups if have is None or group not in have.groups]:
            says = f"adding {want.name} to {', '.join(missing)}"
            commands.append(shell(_JOIN, want.name, *missing, says=says, root=True))
        return commands

    async def preflight(self, host: Host, want: UserWant) -> None:
        """Accounts are root's to change."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if not facts.root and (have is None or self.differing(want, have)):
            is_there = "does not exist" if have is None else f"is in {', '.join(facts.users[want.name]) or 'no group'}"
            raise BadInput(
                f"{host.name}: the account {want.name} {is_there}, must be in {', '.join(want.groups) or 'no group'}; "
                f"{facts.user} cannot change that: give it sudo, or ask whoever can"
            )


def _add(want: UserWant) -> Command:
    kind = ("--system", "--shell=/usr/sbin/nologin") if want.system else ("--create-home", "--shell=/bin/bash")
    home = (f"--home-dir={want.home}",) if want.home else ()
    made = ("--create-home",) if want.system and want.home else ()
    argv = ("useradd", *kind, *made, *home, "--", want.name)
    return Command(argv=argv, says=f"making the account {want.name}", root=True)
