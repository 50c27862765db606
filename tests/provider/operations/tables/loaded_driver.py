"""What makes the kernel run the driver that is on disk."""

from __future__ import annotations

from berth.provider.operations.loaded_driver import LoadedDriver, LoadedDriverWant
from berth.provider.reboot import order
from tests.provider.operations.tables.case import Case, Table, script

WANT = LoadedDriverWant(host="box", loaded="580.95.05")
ALLOWED = WANT.model_copy(update={"reboot": "allowed"})


def loaded(what: str) -> LoadedDriverWant:
    return WANT.model_copy(update={"loaded": what})


TABLE = Table(
    operation=LoadedDriver(),
    cases=(
        Case(name="it is loaded", want=WANT, have=WANT, why="the loaded driver is the one on disk"),
        Case(name="only the leave to reboot is new", want=ALLOWED, have=WANT, why="nothing of it is on the host"),
        Case(name="none is loaded", want=WANT, have=loaded("none"), commands=(script("_LOAD"),)),
        Case(name="another version is loaded", want=WANT, have=loaded("575.57.08"), commands=(script("_RELOAD"),)),
        Case(
            name="the other flavour is loaded",
            want=WANT.model_copy(update={"flavour": "open"}),
            have=WANT.model_copy(update={"flavour": "proprietary"}),
            commands=(script("_RELOAD"),),
        ),
        Case(
            name="nouveau is loaded, a reboot allowed", want=ALLOWED, have=loaded("nouveau"), commands=(order().argv,)
        ),
        Case(
            name="nouveau is loaded, no reboot allowed",
            want=WANT,
            have=loaded("nouveau"),
            why="nouveau drives the console and goes only with a reboot, which the stack file does not allow",
        ),
        Case(name="taken out of the stack", want=None, have=WANT, why="a driver in use is not unloaded"),
    ),
)
