"""What keeps unattended upgrades away from what engines need."""

from __future__ import annotations

from berth.provider.operations.unattended_upgrades import UnattendedUpgrades, UnattendedUpgradesWant
from tests.provider.operations.tables.case import Case, Table, script

PATH = "/etc/apt/apt.conf.d/52berth-unattended-upgrades"
WANT = UnattendedUpgradesWant(host="box", patterns=["nvidia", "docker-ce"])
TEXT = """\
// Written by Berth: a driver that is upgraded under a running engine breaks its next start.
Unattended-Upgrade::Package-Blacklist {
  "nvidia";
  "docker-ce";
};
"""
WRITE = script("_PUT", PATH, "0644", "", str(len(TEXT)))

TABLE = Table(
    operation=UnattendedUpgrades(),
    cases=(
        Case(name="as declared", want=WANT, have=WANT, why="the file has the patterns, or nothing upgrades unattended"),
        Case(name="no file", want=WANT, have=None, commands=(WRITE,)),
        Case(
            name="other patterns", want=WANT, have=WANT.model_copy(update={"patterns": ["nvidia"]}), commands=(WRITE,)
        ),
        Case(name="nothing to take away", want=None, have=None, why="there is no file"),
        Case(name="taken away", want=None, have=WANT, commands=(script("_REMOVE", PATH),)),
    ),
)
