"""What leads a host to a folder as declared."""

from __future__ import annotations

from berth.provider.operations.directory import Directory, DirectoryWant
from tests.provider.operations.tables.case import Case, Table, script

WANT = DirectoryWant(host="box", path="/w/a b", mode="0750", owner="a:b")
MAKE = script("_MAKE", "/w/a b", "0750", "a:b")

TABLE = Table(
    operation=Directory(),
    cases=(
        Case(name="missing", want=WANT, have=None, commands=(MAKE,)),
        Case(name="another mode", want=WANT, have=WANT.model_copy(update={"mode": "0777"}), commands=(MAKE,)),
        Case(
            name="taken away, if nothing is left in it",
            want=None,
            have=WANT,
            commands=(("sh", "-eu", "-c", 'rmdir -- "$1" 2> /dev/null || :', "berth", "/w/a b"),),
        ),
        Case(name="nothing to take away", want=None, have=None, why="there is no folder"),
    ),
)
