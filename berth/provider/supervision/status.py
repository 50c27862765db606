"""What a service does right now, in one round trip."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal, Protocol

from berth.provider.command import Command, shell
from berth.provider.host import Host
from berth.provider.supervision.service import RUNNER, Service

State = Literal["running", "starting", "outdated", "stopped"]
"""`outdated` runs a definition that is no longer the one on the host; `starting` is not ready yet."""

_LOOK = r"""
encode() { if [ -f "$1" ]; then base64 < "$1" | tr -d '\n'; fi; echo; }
fields() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null || :; }
state=$1/state
encode "$1/run"
encode "$1/runner.sh"
encode "$2"
if [ -f "$3" ]; then stat -c %s -- "$3"; else echo 0; fi
if [ -f "$state/exits" ]; then wc -l < "$state/exits"; tail -n 1 "$state/exits" | cut -d' ' -f2; else echo 0; echo -; fi
alive=no digest=-
if [ -f "$state/process" ]; then
  read -r pid start _ _ _ boot digest < "$state/process"
  if [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
    case $(fields "$pid") in
      '' | [ZX]*) ;;
      *) if [ "$(fields "$pid" | cut -d' ' -f20)" = "$start" ]; then alive=$pid; fi ;;
    esac
  fi
fi
echo "$alive"
echo "$digest"
if [ -f "$1/run" ]; then sha256sum < "$1/run" | cut -d' ' -f1; else echo -; fi
if [ -f "$state/ready" ]; then echo yes; else echo no; fi
if [ -n "$4" ] && [ -f "$3" ]; then tail -c "+$(($4 + 1))" -- "$3" | head -c 65536 | base64 | tr -d '\n'; fi
echo
"""


@dataclass(frozen=True, kw_only=True)
class Status:
    """A service on its host: what is written there and what runs.

    `run` is its start script, `unit` what its manager reads, both empty when missing; `pid` its main process; `exits`
    how often it has ended by itself and `last_exit` with which status; `restarts` how often its manager has started it
    again since it was told to. `log_size` says where the log ends, `log` is what was asked of it.
    """

    run: str
    runner: str
    unit: str
    log_size: int
    exits: int
    last_exit: str
    pid: int | None
    current: bool
    ready: bool
    log: bytes
    restarts: int = 0

    @property
    def there(self) -> bool:
        """Whether there is anything of it; of one whose update was killed it may be the first file alone."""
        return any((self.run, self.runner, self.unit)) or self.pid is not None

    @property
    def state(self) -> State:
        """The state in one word."""
        if self.pid is None:
            return "stopped"
        if not self.current:
            return "outdated"
        return "running" if self.ready else "starting"


class Looking(Protocol):
    """The part of a manager that tells what a service does."""

    def look(self, service: Service, log_from: int | None = None) -> Command:
        """Asks for everything at once; with `log_from`, also for the log from there on."""
        ...

    def read(self, stdout: str, log_from: int | None = None) -> Status:
        """Reads the answer to `look`."""
        ...


def look(service: Service, unit_path: str, log_from: int | None = None) -> Command:
    """Asks the host for everything at once; with `log_from`, the log from that byte on (64 KiB at most)."""
    offset = "" if log_from is None else str(log_from)
    return shell(_LOOK, service.folder, unit_path, service.log, offset, says=f"looking at {service.name}")


def read(stdout: str, log_from: int | None = None) -> Status:
    """Reads the answer to `look`; the log ends where was read to, unless it has become shorter."""
    run, runner, unit, size, exits, last_exit, pid, started, digest, ready, log = stdout.split("\n")[:11]
    lines = base64.b64decode(log)
    return Status(
        run=_decoded(run),
        runner=_decoded(runner),
        unit=_decoded(unit),
        log_size=int(size) if log_from is None or int(size) < log_from else log_from + len(lines),
        exits=int(exits),
        last_exit=last_exit,
        pid=None if pid == "no" else int(pid),
        current=started == digest,
        ready=ready == "yes",
        log=lines,
    )


async def status(host: Host, service: Service, manager: Looking, log_from: int | None = None) -> Status:
    """Looks at a service on its host."""
    return manager.read((await host.run(manager.look(service, log_from))).stdout, log_from)


def faithful(found: Status) -> bool:
    """Whether the runner on the host is this version's."""
    return found.runner == RUNNER


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")
