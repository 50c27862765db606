"""What turns persistence mode on, for good."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.persistence_mode import CONTENT, DROP_IN, UNIT, PersistenceMode, PersistenceModeWant
from tests.provider.operations.tables.case import Case, Table, script

WANT = PersistenceModeWant(host="box")
WRITE = (script("_PUT", DROP_IN, "0644", "", str(len(CONTENT))), script("_RESTART", UNIT, "enable"))


def there(**but: Any) -> PersistenceModeWant:
    return WANT.model_copy(update=but)


TABLE = Table(
    operation=PersistenceMode(),
    cases=(
        Case(name="on", want=WANT, have=WANT, why="the daemon runs, starts at boot, and the cards say so"),
        Case(name="not declared there", want=WANT, have=None, commands=WRITE),
        Case(name="the drop-in was edited", want=WANT, have=there(drop_in="edited by hand"), commands=WRITE),
        Case(name="systemd has not read it", want=WANT, have=there(drop_in="not loaded"), commands=WRITE),
        Case(name="not started at boot", want=WANT, have=there(daemon="not at boot"), commands=WRITE),
        Case(name="the daemon is not there", want=WANT, have=there(daemon="missing", mode="off"), commands=WRITE),
        Case(
            name="the daemon was stopped: no unit is read anew",
            want=WANT,
            have=there(daemon="stopped", mode="off"),
            commands=(script("_RESTART", UNIT, "start"),),
        ),
        Case(
            name="turned off by nvidia-smi",
            want=WANT,
            have=there(mode="off"),
            commands=(script("_RESTART", UNIT, "start"),),
        ),
        Case(
            name="taken out of the stack, not to be kept",
            want=None,
            have=there(on_destroy="remove"),
            commands=(script("_REMOVE", UNIT, DROP_IN),),
        ),
        Case(name="taken out of the stack, gone already", want=None, have=None, why="there is nothing to remove"),
    ),
)
