"""One supervisord for a stack, where a host has no systemd; it outlives the update that started it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_SOCKET_LIMIT = 100
"""A Unix socket's path may have 107 bytes; supervisord adds its process id while it makes the socket."""

_LOOK = """
if [ ! -f "$1/supervisord.conf" ]; then exit 4; fi
if "$2" -c "$1/supervisord.conf" pid > /dev/null 2>&1; then echo running; else echo stopped; fi
cat -- "$1/supervisord.conf"
echo
cat -- "$1/start" 2> /dev/null || :
"""

# supervisord makes itself a daemon with descriptors of its own; setsid and the redirections are for what it starts
# before that: anything that kept our pipe open would make the update wait for it for ever.
_START = """#!/bin/sh
# Written by Berth; change the stack file instead: what is changed here shows as drift.
# Starts supervisord, and with it all that this stack runs on this machine; where it runs already, nothing happens.
# For whatever a machine without systemd runs at its start: nothing else of it has to be called.
set -eu
cd /
folder={folder}
environment={environment}
runs() {{ "$environment/bin/supervisorctl" -c "$folder/supervisord.conf" pid > /dev/null 2>&1; }}
if runs; then exit 0; fi
mkdir -p -- "$folder/conf.d" "$folder/log"
said=$folder/log/start
setsid "$environment/bin/supervisord" -c "$folder/supervisord.conf" < /dev/null > /dev/null 2> "$said" || {{
  cat "$said" >&2
  exit 1
}}
tries=0
until runs; do
  tries=$((tries + 1))
  if [ "$tries" -gt 50 ]; then cat "$said" >&2; exit 1; fi
  sleep 0.1
done
"""

_STOP = """
pid=$("$2" -c "$1/supervisord.conf" pid 2> /dev/null) || pid=$(cat -- "$1/pid" 2> /dev/null) || pid=
if [ -n "$pid" ] && ! grep -qs -- "$1/supervisord.conf" "/proc/$pid/cmdline"; then pid=; fi
if [ -n "$pid" ]; then
  kill -TERM "$pid"
  while kill -0 "$pid" 2> /dev/null; do sleep 0.2; done
fi
rm -rf -- "$1"
"""


class SupervisorWant(Want):
    """A supervisord: `folder` holds its configuration and socket, `environment` the Python environment it is in.

    `folder/start` starts it without Pulumi, when the machine itself starts again.
    """

    folder: str
    environment: str
    state: Literal["running", "stopped"] = "running"
    definition: Literal["as declared", "edited by hand"] = "as declared"

    def configuration(self) -> str:
        """Its configuration file; programs are in `conf.d`, one file each."""
        folder = self.folder.replace("%", "%%")
        return f"""; Written by Berth; change the stack file instead: what is changed here shows as drift.
[unix_http_server]
file={folder}/socket
chmod=0700

[supervisord]
logfile={folder}/log/supervisord.log
logfile_maxbytes=10MB
logfile_backups=1
pidfile={folder}/pid
childlogdir={folder}/log

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{folder}/socket

[include]
; relative, since a blank would end an absolute path
files=conf.d/*.conf
"""

    def hook(self) -> str:
        """The script that starts it."""
        return _START.format(folder=shlex.quote(self.folder), environment=shlex.quote(self.environment))


class Supervisor(Operation[SupervisorWant]):
    """Declares a running supervisord."""

    kind = "berth:host:Supervisor"
    wants = SupervisorWant
    replace = frozenset({"host", "folder"})
    delete_first = True

    def identity(self, want: SupervisorWant) -> str:
        """Its folder on its host."""
        return f"{want.host}:{want.folder}"

    async def observe(self, host: Host, want: SupervisorWant) -> SupervisorWant | None:
        """Asks it for its process id over its socket."""
        control = f"{want.environment}/bin/supervisorctl"
        result = await host.run(shell(_LOOK, want.folder, control, says="asking supervisord", ok=frozenset({0, 4})))
        if result.status == 4:
            return None
        state, _, text = result.stdout.partition("\n")
        edited = "as declared" if text == f"{want.configuration()}\n{want.hook()}" else "edited by hand"
        return want.model_copy(update={"state": state, "definition": edited})

    def steps(self, want: SupervisorWant | None, have: SupervisorWant | None) -> Sequence[Command]:
        """Starts it; what its programs run is adopted by their runners, so that nothing is restarted."""
        if want is None:
            return [] if have is None else [_stop(have)]
        write = [
            put(f"{want.folder}/supervisord.conf", want.configuration(), mode="0600"),
            put(f"{want.folder}/start", want.hook(), mode="0755"),
        ]
        if have is not None and have.state == "running":
            return write
        return [*write, Command(argv=("sh", f"{want.folder}/start"), says="starting supervisord")]

    async def preflight(self, host: Host, want: SupervisorWant) -> None:
        """A folder that is too deep for a Unix socket is known beforehand."""
        if len(f"{want.folder}/socket".encode()) > _SOCKET_LIMIT:
            raise BadInput(
                f"hosts.{host.name}.root: {want.folder}/socket is longer than the {_SOCKET_LIMIT} bytes that a Unix "
                "socket's path may have; choose a shorter root"
            )


def _stop(have: SupervisorWant) -> Command:
    control = f"{have.environment}/bin/supervisorctl"
    return shell(_STOP, have.folder, control, says="stopping supervisord", timeout_s=180)
