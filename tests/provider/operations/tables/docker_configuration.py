"""What merges settings into daemon.json, and how Docker takes them over."""

from __future__ import annotations

import hashlib
from typing import Any

from berth.provider.operations.docker_configuration import TAKE_OVER, DockerConfiguration, DockerConfigurationWant
from tests.provider.operations.tables.case import Case, Script, Table, script

PATH = "/etc/docker/daemon.json"
LOGS = {"log-driver": "json-file", "log-opts": {"max-size": "100m"}}
RUNTIME = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}
NEW_LOGS = """{
  "log-driver": "json-file",
  "log-opts": {
    "max-size": "100m"
  }
}
"""
FOREIGN = """{
    "data-root": "/srv/docker",
    "features": {
        "buildkit": true
    }
}
"""
FOREIGN_CDI = FOREIGN.replace("true", 'true,\n        "cdi": true')
FOREIGN_RUNTIME = """{
    "data-root": "/srv/docker",
    "features": {
        "buildkit": true
    },
    "runtimes": {
        "nvidia": {
            "path": "nvidia-container-runtime"
        }
    }
}
"""
FOREIGN_BOTH = """{
    "data-root": "/srv/docker",
    "features": {
        "buildkit": true
    },
    "live-restore": true,
    "log-driver": "json-file",
    "log-opts": {
        "max-size": "100m"
    }
}
"""


def want(**settings: Any) -> DockerConfigurationWant:
    return DockerConfigurationWant(host="box", settings=settings)


def have(
    text: str | None, ignored: tuple[str, ...] = (), problem: str = "", **settings: Any
) -> DockerConfigurationWant:
    return want(**settings).model_copy(update={"text": text, "ignored": [*ignored], "problem": problem})


def configure(mode: str, before: str | None, after: str) -> Script:
    """Contents go by standard input; the size of what is to come is an argument."""
    was = "" if before is None else hashlib.sha256(before.encode()).hexdigest()
    return script("CONFIGURE", TAKE_OVER, PATH, "docker.service", mode, was, str(len(after)), "240")


DEFAULTS = {**LOGS, "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 65536, "Hard": 524288}}}
SYSLOG = '{"log-driver": "syslog", "log-opts": {"syslog-address": "udp://logs:514"}}'
SYSLOG_AND_LIMIT = SYSLOG[:-1] + ', "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 65536, "Hard": 524288}}}'


def with_defaults(of: DockerConfigurationWant, *lacking: str) -> DockerConfigurationWant:
    return of.model_copy(update={"defaults": DEFAULTS, "lacking": [*lacking]})


BOTH = {"live-restore": True, **LOGS}

TABLE = Table(
    operation=DockerConfiguration(),
    cases=(
        Case(
            name="all of it is there", want=want(**LOGS), have=have("", **LOGS), why="every key is there and in effect"
        ),
        Case(name="there is no file", want=want(**LOGS), have=None, commands=(configure("restart", None, NEW_LOGS),)),
        Case(
            name="the file has other keys",
            want=want(**RUNTIME),
            have=have(FOREIGN),
            commands=(configure("reload", FOREIGN, FOREIGN_RUNTIME),),
        ),
        Case(
            name="a feature is off",
            want=want(features={"cdi": True}),
            have=have(FOREIGN, features={}),
            commands=(configure("restart", FOREIGN, FOREIGN_CDI),),
        ),
        Case(
            name="with live-restore, which must be on before the restart",
            want=want(**BOTH),
            have=have(FOREIGN),
            commands=(configure("both", FOREIGN, FOREIGN_BOTH),),
        ),
        Case(
            name="the file is right and the daemon goes by another",
            want=want(**RUNTIME),
            have=have("{}", ("runtimes",), **RUNTIME),
            commands=(configure("reload", "{}", '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}'),),
        ),
        Case(
            name="the file is right and the daemon started before it",
            want=want(features={"cdi": True}),
            have=have("{}", ("features.cdi",), features={"cdi": True}),
            commands=(configure("restart", "{}", '{"features": {"cdi": true}}'),),
        ),
        Case(
            name="what the host says of logs stays, the limit is added",
            want=with_defaults(want()),
            have=with_defaults(have(SYSLOG), "default-ulimits"),
            commands=(configure("restart", SYSLOG, SYSLOG_AND_LIMIT),),
        ),
        Case(
            name="no default lacks",
            want=with_defaults(want()),
            have=with_defaults(have(SYSLOG_AND_LIMIT)),
            why="the host says something of each",
        ),
        Case(
            name="taken out, less the defaults that are as Berth writes them",
            want=None,
            have=with_defaults(have(SYSLOG_AND_LIMIT)),
            commands=(configure("restart", SYSLOG_AND_LIMIT, SYSLOG),),
        ),
        Case(
            name="the file is broken",
            want=want(**LOGS),
            have=have("{", problem="line 1 column 2"),
            why="what a person wrote is not written over; preflight says where it is broken",
        ),
        Case(
            name="taken out of the stack",
            want=None,
            have=have(FOREIGN, features={"buildkit": True}),
            commands=(configure("restart", FOREIGN, '{\n    "data-root": "/srv/docker"\n}\n'),),
        ),
        Case(
            name="taken out, and nothing else was in the file",
            want=None,
            have=have('{"log-driver": "json-file"}', **{"log-driver": "json-file"}),
            commands=(configure("remove", '{"log-driver": "json-file"}', "{}"),),
        ),
        Case(name="taken out, and not there", want=None, have=have(FOREIGN), why="none of its keys is in the file"),
    ),
)
