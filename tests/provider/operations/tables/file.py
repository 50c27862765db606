"""What leads a host to a file as declared."""

from __future__ import annotations

from berth.provider.operations.file import File, FileWant
from tests.provider.operations.tables.case import Case, Table, script

PLAIN = FileWant(host="box", path="/w/a b/file", content="text\n")
OURS = FileWant(host="box", path="/etc/berth/key", content="s3cret", mode="0600", owner="root:root", root=True)
WRITE = script("_PUT", "/w/a b/file", "0644", "", "5")

TABLE = Table(
    operation=File(),
    cases=(
        Case(name="missing", want=PLAIN, have=None, commands=(WRITE,)),
        Case(
            name="other content: a whole file is put in its place",
            want=PLAIN,
            have=PLAIN.model_copy(update={"content": "by hand"}),
            commands=(WRITE,),
        ),
        Case(name="another mode", want=PLAIN, have=PLAIN.model_copy(update={"mode": "0777"}), commands=(WRITE,)),
        Case(
            name="root's, whose content is no argument",
            want=OURS,
            have=None,
            commands=(script("_PUT", "/etc/berth/key", "0600", "root:root", "6"),),
        ),
        Case(
            name="taken away",
            want=None,
            have=PLAIN,
            commands=(("sh", "-eu", "-c", 'rm -f -- "$1"', "berth", "/w/a b/file"),),
        ),
        Case(name="nothing to take away", want=None, have=None, why="there is no file"),
    ),
)
