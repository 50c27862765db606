"""What makes the fabric manager run in the driver's own version."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.fabric_manager import NOT_AT_BOOT, UNIT, FabricManager, FabricManagerWant
from tests.provider.operations.tables.case import Case, Table, leashed, script, surviving

WANT = FabricManagerWant(
    host="box", manager="apt", packages=["nvidia-fabricmanager"], companions=["nvlsm"], version="580.95.05"
)
DNF = WANT.model_copy(update={"manager": "dnf", "companions": []})
NAME, ASKED = "nvidia-fabricmanager", "nvidia-fabricmanager=580.95.05-*"
START = script("_START", UNIT)
INSTALL = (
    leashed("apt._DOWNLOAD", "600", "", NAME, NAME, ASKED, "nvlsm"),
    surviving("apt._INSTALL", "600", NAME, NAME, NAME, ASKED, "nvlsm"),
)


def there(**but: Any) -> FabricManagerWant:
    return WANT.model_copy(update=but)


TABLE = Table(
    operation=FabricManager(),
    cases=(
        Case(name="running", want=WANT, have=WANT, why="it has the driver's version, and the fabric is complete"),
        Case(name="nothing there", want=WANT, have=None, commands=(*INSTALL, START)),
        Case(
            name="nothing there, dnf",
            want=DNF,
            have=None,
            commands=(
                leashed("dnf._DOWNLOAD", "", NAME, NAME, f"{NAME}-580.95.05-*"),
                surviving("dnf._INSTALL", "", NAME, NAME, f"{NAME}-580.95.05-*"),
                START,
            ),
        ),
        Case(name="of another driver", want=WANT, have=there(version="590.48.01"), commands=(*INSTALL, START)),
        Case(name="without nvlsm", want=WANT, have=there(companions=[]), commands=(*INSTALL, START)),
        Case(
            name="half installed",
            want=WANT,
            have=there(broken=[NAME], packages=[], state="stopped"),
            commands=(surviving("apt._REPAIR", "600"), *INSTALL, START),
        ),
        Case(
            name="interrupted while it was configured: what runs goes on",
            want=WANT,
            have=there(broken=[NAME]),
            commands=(surviving("apt._REPAIR", "600"),),
        ),
        Case(
            name="not at boot: what runs goes on",
            want=WANT,
            have=there(state=NOT_AT_BOOT),
            commands=(script("_ENABLE", UNIT),),
        ),
        Case(name="stopped", want=WANT, have=there(state="stopped"), commands=(START,)),
        Case(
            name="the fabric is not complete", want=WANT, have=there(state="running, fabric failed"), commands=(START,)
        ),
        Case(
            name="the hold was taken off: what runs goes on",
            want=WANT,
            have=there(hold=False),
            commands=(surviving("apt._INSTALL", "600", NAME, "", NAME),),
        ),
        Case(
            name="the hold is not wanted",
            want=there(hold=False),
            have=WANT,
            commands=(surviving("apt._INSTALL", "600", NAME, NAME, ""),),
        ),
        Case(
            name="taken out of the stack, not to be kept",
            want=None,
            have=there(on_destroy="remove"),
            commands=(
                leashed("apt._DOWNLOAD", "600", f"{NAME} nvlsm", "", NAME, f"{NAME}-", "nvlsm-"),
                surviving("apt._INSTALL", "600", "", NAME, "", f"{NAME}-", "nvlsm-"),
            ),
        ),
        Case(
            name="taken out of the stack, not to be kept, dnf",
            want=None,
            have=DNF,
            commands=(
                leashed("dnf._DOWNLOAD", NAME, "", NAME),
                surviving("dnf._INSTALL", NAME, NAME, ""),
            ),
        ),
        Case(name="taken out of the stack, gone already", want=None, have=None, why="there is nothing to remove"),
    ),
)
