"""What makes an account and puts it into groups."""

from __future__ import annotations

from berth.provider.operations.user import User, UserWant
from tests.provider.operations.tables.case import Case, Table, script

PERSON = UserWant(host="box", name="ubuntu", groups=["docker", "render"])
SERVICE = UserWant(host="box", name="berth", system=True, home="/var/lib/berth")

TABLE = Table(
    operation=User(),
    cases=(
        Case(name="in all groups", want=PERSON, have=PERSON, why="it exists and is in the groups"),
        Case(
            name="in one of the groups",
            want=PERSON,
            have=PERSON.model_copy(update={"groups": ["render"]}),
            commands=(script("_JOIN", "ubuntu", "docker"),),
        ),
        Case(
            name="no such account",
            want=PERSON,
            have=None,
            commands=(
                ("useradd", "--create-home", "--shell=/bin/bash", "--", "ubuntu"),
                script("_JOIN", "ubuntu", "docker", "render"),
            ),
        ),
        Case(
            name="no such service's account",
            want=SERVICE,
            have=None,
            commands=(
                (
                    *("useradd", "--system", "--shell=/usr/sbin/nologin", "--create-home"),
                    *("--home-dir=/var/lib/berth", "--", "berth"),
                ),
            ),
        ),
        Case(name="nothing to take away", want=None, have=None, why="there is no such account"),
        Case(name="no groups to take away", want=None, have=SERVICE, why="an account is never removed"),
        Case(name="taken away", want=None, have=PERSON, commands=(script("_LEAVE", "ubuntu", "docker", "render"),)),
    ),
)
