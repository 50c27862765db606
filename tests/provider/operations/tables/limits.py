"""What sets the limits of logins."""

from __future__ import annotations

from berth.provider.operations.limits import Limit, Limits, LimitsWant
from tests.provider.operations.tables.case import Case, Table, script

PATH = "/etc/security/limits.d/90-berth-engines.conf"
WANT = LimitsWant(
    host="box",
    name="engines",
    limits=[
        Limit(domain="*", item="memlock", value="unlimited"),
        Limit(domain="@docker", kind="soft", item="nofile", value="65536"),
    ],
)
TEXT = "* - memlock unlimited\n@docker soft nofile 65536\n"
WRITE = script("_PUT", PATH, "0644", "", str(len(TEXT)))

TABLE = Table(
    operation=Limits(),
    cases=(
        Case(name="as declared", want=WANT, have=WANT, why="the file has these lines"),
        Case(name="no file", want=WANT, have=None, commands=(WRITE,)),
        Case(name="other lines", want=WANT, have=WANT.model_copy(update={"limits": []}), commands=(WRITE,)),
        Case(name="nothing to take away", want=None, have=None, why="there is no file"),
        Case(name="taken away", want=None, have=WANT, commands=(script("_REMOVE", PATH),)),
    ),
)
