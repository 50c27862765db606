"""What keeps one CDI specification of the GPUs that there are."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.cdi_specification import DROP_IN, CdiSpecification, CdiSpecificationWant
from tests.provider.operations.tables.case import Case, Table, script

WANT = CdiSpecificationWant(host="box")
BY_HAND = CdiSpecificationWant(host="box", refreshed_by="nobody", disabled_hooks=["enable-cuda-compat"])
REMOVED = WANT.model_copy(update={"on_destroy": "remove"})
WRITTEN = """# Written by Berth.
[Unit]
Before=docker.service
After=nvidia-persistenced.service

[Service]
TimeoutStartSec=90s
"""
LEFT_OUT = "Environment=NVIDIA_CTK_CDI_GENERATE_DISABLED_HOOKS=enable-cuda-compat\n"
STALE = "it is of driver 575.57.08, loaded is 580.95.05"

ORDER = (script("_PUT", DROP_IN, "0644", "", str(len(WRITTEN))), script("_RELOAD"))
REFRESH = script("_REFRESH")
GENERATE = ("nvidia-ctk", "cdi", "generate", "--output=/etc/cdi/nvidia.yaml", "--disable-hook=enable-cuda-compat")


def have(of: CdiSpecificationWant = WANT, **different: Any) -> CdiSpecificationWant:
    return of.model_copy(update=different)


TABLE = Table(
    operation=CdiSpecification(),
    cases=(
        Case(name="it is fresh", want=WANT, have=WANT, why="driver and GPUs are those of the file, the only one"),
        Case(name="there is none", want=WANT, have=None, commands=(*ORDER, REFRESH)),
        Case(name="of another driver", want=WANT, have=have(problems=[STALE]), commands=(REFRESH,)),
        Case(name="it is not made at the next boot", want=WANT, have=have(units="disabled"), commands=(REFRESH,)),
        Case(
            name="it is made after Docker starts", want=WANT, have=have(drop_in="missing"), commands=(*ORDER, REFRESH)
        ),
        Case(
            name="systemd has not read its order",
            want=WANT,
            have=have(drop_in="not loaded"),
            commands=(*ORDER, REFRESH),
        ),
        Case(
            name="another hook is left out",
            want=WANT.model_copy(update={"disabled_hooks": ["enable-cuda-compat"]}),
            have=have(problems=["it has the hook enable-cuda-compat"], drop_in="other"),
            commands=(script("_PUT", DROP_IN, "0644", "", str(len(WRITTEN + LEFT_OUT))), script("_RELOAD"), REFRESH),
        ),
        Case(
            name="a second one of the toolkit's",
            want=WANT,
            have=have(duplicates=["/etc/cdi/nvidia.yaml"]),
            commands=(("rm", "-f", "--", "/etc/cdi/nvidia.yaml"),),
        ),
        Case(
            name="a second one of somebody's",
            want=WANT,
            have=have(duplicates=["/etc/cdi/mine.yaml"]),
            why="it may be wanted by others; preflight names it",
        ),
        Case(
            name="no driver is loaded",
            want=WANT,
            have=have(problems=["no driver is loaded"]),
            commands=(script("_NO_DRIVER"),),
        ),
        Case(name="made by hand, and fresh", want=BY_HAND, have=BY_HAND, why="driver and GPUs are those of the file"),
        Case(name="made by hand, missing", want=BY_HAND, have=None, commands=(GENERATE,)),
        Case(name="made by hand, stale", want=BY_HAND, have=have(BY_HAND, problems=[STALE]), commands=(GENERATE,)),
        Case(
            name="taken out of the stack",
            want=None,
            have=REMOVED,
            commands=(("rm", "-f", "--", "/var/run/cdi/nvidia.yaml", DROP_IN), script("_RELOAD")),
        ),
        Case(
            name="made by hand, taken out of the stack",
            want=None,
            have=have(BY_HAND, duplicates=["/var/run/cdi/nvidia.yaml", "/etc/cdi/mine.yaml"]),
            commands=(("rm", "-f", "--", "/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml", DROP_IN),),
        ),
        Case(name="taken out, and gone", want=None, have=None, why="there is no file"),
    ),
)
