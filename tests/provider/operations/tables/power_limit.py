"""What sets power limits, for good."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.power_limit import FILE, UNIT, PowerLimit, PowerLimitWant, content
from tests.provider.operations.tables.case import Case, Table, script

WANT = PowerLimitWant(host="box", watts={"0": 450, "1": 400.5})
WRITE = (script("_PUT", FILE, "0644", "", str(len(content(WANT.watts)))), script("_APPLY", UNIT, "enable"))


def there(**but: Any) -> PowerLimitWant:
    return WANT.model_copy(update=but)


TABLE = Table(
    operation=PowerLimit(),
    cases=(
        Case(name="set", want=WANT, have=WANT, why="the cards have them, and the service sets them at boot"),
        Case(name="not declared there", want=WANT, have=None, commands=WRITE),
        Case(name="the service was edited", want=WANT, have=there(unit="edited by hand"), commands=WRITE),
        Case(name="the service does not start at boot", want=WANT, have=there(unit="not at boot"), commands=WRITE),
        Case(name="systemd has not read it", want=WANT, have=there(unit="not loaded"), commands=WRITE),
        Case(name="a card is new in it", want=WANT, have=there(watts={"0": 450}), commands=WRITE),
        Case(
            name="set to something else by hand: no unit is read anew",
            want=WANT,
            have=there(watts={"0": 575, "1": 400.5}),
            commands=(script("_APPLY", UNIT, "start"),),
        ),
        Case(
            name="taken out of the stack, not to be kept",
            want=None,
            have=there(on_destroy="remove"),
            commands=(script("_REMOVE", UNIT, FILE, "0", "1"),),
        ),
        Case(name="taken out of the stack, gone already", want=None, have=None, why="there is nothing to remove"),
    ),
)
