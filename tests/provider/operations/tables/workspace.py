"""What is done to a stack's folder: nothing before it goes."""

from __future__ import annotations

from berth.provider.operations.workspace import _OURS, Workspace, WorkspaceWant
from tests.provider.operations.tables.case import Case, Table, script

WANT = WorkspaceWant(host="box", path="/w/a b", unit_prefix="berth-x")

TABLE = Table(
    operation=Workspace(),
    cases=(
        Case(name="there or not", want=WANT, have=None, why="what is put into it makes it"),
        Case(
            name="swept: containers, then whatever else runs, then what Berth put there",
            want=None,
            have=WANT,
            commands=(script("_CONTAINERS", "berth-x"), script("_SWEEP", "/w/a b", "berth-x", *_OURS)),
        ),
        Case(name="never made", want=None, have=None, why="there is nothing to sweep"),
    ),
)
