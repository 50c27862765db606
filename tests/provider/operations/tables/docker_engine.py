"""What keeps Docker running."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.docker_engine import DockerEngine, DockerEngineWant
from tests.provider.operations.tables.case import Case, Table, script

WANT = DockerEngineWant(host="box", minimum="26.1")
GONE = WANT.model_copy(update={"on_destroy": "remove"})


def have(**different: Any) -> DockerEngineWant:
    return WANT.model_copy(update=different)


START = script("START", "docker.service", "start")
RESTART = script("START", "docker.service", "restart")

TABLE = Table(
    operation=DockerEngine(),
    cases=(
        Case(name="it runs", want=WANT, have=WANT, why="it is enabled, runs, answers and is new enough"),
        Case(name="neither enabled nor running", want=WANT, have=None, commands=(START,)),
        Case(name="enabled and stopped", want=WANT, have=have(active=False), commands=(START,)),
        Case(name="it runs until the next boot", want=WANT, have=have(enabled=False), commands=(START,)),
        Case(name="the daemon is older than its program", want=WANT, have=have(minimum="25.0.3"), commands=(RESTART,)),
        Case(
            name="daemon and program are too old",
            want=WANT,
            have=have(minimum="24.0.7", installed="too old"),
            commands=(script("_TOO_OLD", "24.0.7", "26.1"),),
        ),
        Case(
            name="it runs and does not answer",
            want=WANT,
            have=have(answers=False),
            why="a restart would stop its containers, and a person must see first why it hangs; preflight says so",
        ),
        Case(name="taken out of the stack", want=None, have=GONE, commands=(script("_STOP", "docker.service"),)),
        Case(name="taken out, and gone", want=None, have=None, why="it neither runs nor is enabled"),
    ),
)
