"""What sets the kernel, now and at boot."""

from __future__ import annotations

from berth.provider.operations.sysctl import Sysctl, SysctlWant
from tests.provider.operations.tables.case import Case, Table, script

PATH = "/etc/sysctl.d/99-zz-berth-engines.conf"
WANT = SysctlWant(
    host="box", name="engines", values={"vm.swappiness": "10", "net.ipv4.ip_local_port_range": "32768 60999"}
)
TEXT = "vm.swappiness = 10\nnet.ipv4.ip_local_port_range = 32768 60999\n"
WRITE = script("_PUT", PATH, "0644", "", str(len(TEXT)))

TABLE = Table(
    operation=Sysctl(),
    cases=(
        Case(name="as declared", want=WANT, have=WANT, why="the values are in force, and in the file"),
        Case(
            name="nothing is set",
            want=WANT,
            have=None,
            commands=(
                script("_SET", "vm.swappiness", "10", "net.ipv4.ip_local_port_range", "32768 60999"),
                WRITE,
            ),
        ),
        Case(
            name="one value was changed by hand",
            want=WANT,
            have=WANT.model_copy(update={"values": {**WANT.values, "vm.swappiness": "60"}}),
            commands=(script("_SET", "vm.swappiness", "10"),),
        ),
        Case(
            name="only the file was changed",
            want=WANT,
            have=WANT.model_copy(update={"boot": "other"}),
            commands=(WRITE,),
        ),
        Case(name="nothing to take away", want=None, have=None, why="there is no file"),
        Case(name="taken away", want=None, have=WANT, commands=(script("_REMOVE", PATH),)),
    ),
)
