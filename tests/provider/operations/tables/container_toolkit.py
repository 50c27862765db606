"""What configures the container toolkit and has Docker look for it."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.container_toolkit import ContainerToolkit, ContainerToolkitWant
from tests.provider.operations.tables.case import Case, Table, script

WANT = ContainerToolkitWant(host="box")
CONFIGURE = (
    *("nvidia-ctk", "config", "--in-place", "--config-file", "/etc/nvidia-container-runtime/config.toml"),
    *("--set", "nvidia-container-runtime.mode=auto", "--set", "nvidia-container-cli.no-cgroups=false"),
)
RESTART = script("START", "docker.service", "restart")


def have(**different: Any) -> ContainerToolkitWant:
    return WANT.model_copy(update=different)


TABLE = Table(
    operation=ContainerToolkit(),
    cases=(
        Case(name="it is configured", want=WANT, have=WANT, why="mode and cgroups are right, and Docker knows of it"),
        Case(name="another mode", want=WANT, have=have(mode="legacy"), commands=(CONFIGURE,)),
        Case(name="a leftover of a rootless set-up", want=WANT, have=have(no_cgroups=True), commands=(CONFIGURE,)),
        Case(name="Docker started before it came", want=WANT, have=have(detected=False), commands=(RESTART,)),
        Case(
            name="both",
            want=WANT.model_copy(update={"mode": "cdi", "no_cgroups": True}),
            have=have(detected=False),
            commands=(
                (*CONFIGURE[:6], "nvidia-container-runtime.mode=cdi", "--set", "nvidia-container-cli.no-cgroups=true"),
                RESTART,
            ),
        ),
        Case(name="it is missing", want=WANT, have=None, commands=(script("_TOO_OLD", "(none)", "1.18.0"),)),
        Case(
            name="it is too old",
            want=WANT,
            have=have(version="1.14.6"),
            commands=(script("_TOO_OLD", "1.14.6", "1.18.0"),),
        ),
        Case(
            name="its file is broken",
            want=WANT,
            have=have(problem="line 3"),
            why="what a person wrote is not written over; preflight says where it is broken",
        ),
        Case(name="taken out of the stack", want=None, have=WANT, why="its packages are removed by their own resource"),
    ),
)
