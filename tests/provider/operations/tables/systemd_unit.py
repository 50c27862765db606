"""What leads systemd to a unit as declared."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.systemd_unit import SystemdUnit, SystemdUnitWant
from tests.provider.operations.tables.case import Case, Table, script

TEXT = "[Unit]\nBefore=docker.service\n"
SIZE = str(len(TEXT))
DROP_IN = SystemdUnitWant(host="box", unit="nvidia-cdi-refresh.service", drop_in="10-berth", content=TEXT)
DROP_IN_PATH = "/etc/systemd/system/nvidia-cdi-refresh.service.d/10-berth.conf"
OWN = SystemdUnitWant(
    host="box", unit="berth-power.service", content="[Service]\n", enabled=True, active=True, restart=True
)
OWN_PATH = "/etc/systemd/system/berth-power.service"
OFF = SystemdUnitWant(host="box", unit="apt-daily-upgrade.timer", enabled=False, active=False)


def but(want: SystemdUnitWant, **update: Any) -> SystemdUnitWant:
    return want.model_copy(update=update)


TABLE = Table(
    operation=SystemdUnit(),
    cases=(
        Case(name="a drop-in as declared", want=DROP_IN, have=DROP_IN, why="the file is the same and systemd knows it"),
        Case(
            name="a drop-in that is not there",
            want=DROP_IN,
            have=but(DROP_IN, content=""),
            commands=(script("_CHANGE", DROP_IN.unit, DROP_IN_PATH, SIZE, "daemon-reload", "", ""),),
        ),
        Case(
            name="a drop-in that nobody loaded",
            want=DROP_IN,
            have=but(DROP_IN, loaded=False),
            commands=(script("_CHANGE", DROP_IN.unit, "", "", "daemon-reload", "", ""),),
        ),
        Case(
            name="a drop-in that changes what runs",
            want=but(DROP_IN, restart=True),
            have=but(DROP_IN, content="[Unit]\n", restart=True),
            commands=(script("_CHANGE", DROP_IN.unit, DROP_IN_PATH, SIZE, "daemon-reload", "", "try-restart"),),
        ),
        Case(name="a unit of our own as declared", want=OWN, have=OWN, why="its file, boot and state are as declared"),
        Case(
            name="a unit of our own that is not there",
            want=OWN,
            have=None,
            commands=(script("_CHANGE", OWN.unit, OWN_PATH, "10", "daemon-reload", "enable", "restart"),),
        ),
        Case(
            name="a unit of our own that was stopped by hand",
            want=OWN,
            have=but(OWN, active=False),
            commands=(script("_CHANGE", OWN.unit, "", "", "", "", "start"),),
        ),
        Case(
            name="a unit that must not run",
            want=OFF,
            have=but(OFF, enabled=True, active=True),
            commands=(script("_CHANGE", OFF.unit, "", "", "", "disable", "stop"),),
        ),
        Case(name="a unit that must not run, and does not", want=OFF, have=OFF, why="it is off"),
        Case(name="nothing to take away", want=None, have=None, why="there is neither file nor unit"),
        Case(
            name="a drop-in taken away",
            want=None,
            have=DROP_IN,
            commands=(script("_REMOVE", DROP_IN.unit, DROP_IN_PATH, "drop-in"),),
        ),
        Case(
            name="a unit of our own taken away",
            want=None,
            have=OWN,
            commands=(script("_REMOVE", OWN.unit, OWN_PATH, "unit"),),
        ),
        Case(
            name="another's unit, of which only the state was declared",
            want=None,
            have=OFF,
            why="its file is not ours, and what it did before is not known",
        ),
    ),
)
