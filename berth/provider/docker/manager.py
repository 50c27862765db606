"""Docker as what keeps services running: each in a container of its own, started through the same runner.

The service's folder is mounted at its own path, so that its `run` script, the locks of its cards and its state are the
same inside as outside; Docker's restart policy takes the place of systemd or supervisord.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from berth.provider.command import Command, shell
from berth.provider.docker.container import Container, Mount, create_script
from berth.provider.docker.owning import HAND_OVER, OWN
from berth.provider.supervision.service import Service
from berth.provider.supervision.status import Status

SERVICE = "dev.berth.service"
"""The label with the name that a container was made for, whatever it is called now."""

STACK = "dev.berth.stack"
"""The label with the prefix of all names of a stack."""

_GRACE_S = 10
"""On top of a service's own time to stop: the runner needs it to see that nothing is left."""

_RESTART = {"always": "unless-stopped", "on-failure": "on-failure", "never": "no"}

_SEEN = " ".join(
    f"{{{{json .{path}}}}}"
    for path in (
        *("Name", "Image"),
        *(f"Config.{part}" for part in ("Image", "Entrypoint", "Cmd", "Env", "Labels", "User")),
        *(f"HostConfig.{part}" for part in ("Binds", "Mounts", "NetworkMode", "PortBindings", "RestartPolicy")),
        *(f"HostConfig.{part}" for part in ("ShmSize", "IpcMode", "Runtime", "DeviceRequests", "LogConfig")),
        *(f"HostConfig.{part}" for part in ("Memory", "NanoCpus", "Privileged", "SecurityOpt")),
    )
)
"""What Docker says of a container that nobody changed; held against what it said when the container was made."""

_NETWORKS = " {{range $name, $_ := .NetworkSettings.Networks}}{{$name}},{{end}}"

_START = (
    HAND_OVER
    + """
name=$1 folder=$2 seen=$3 own=$4
mkdir -p -- "$folder/state"
if [ "$(id -u)" = 0 ]; then chown "$(stat -c %u:%g -- "$folder")" "$folder/state"; fi # not the root's of sudo
chmod 0755 -- "$folder/state" 2> /dev/null || : # unless the user of a container has it already
digest=$(cat -- "$folder/run" "$folder/create" | sha256sum | cut -d' ' -f1)
label='{{index .Config.Labels "dev.berth.definition"}}'
seen() {
  said=$(docker container inspect --format "$seen" "$name" 2> /dev/null) || said=unlike # it lacks what all of ours have
  printf '%s\\n' "$said"
}
have=$(docker container inspect --format "$label" "$name" 2> /dev/null) || have=
made=$(cat -- "$folder/made" 2> /dev/null) || made=
if [ "$have" != "$digest" ] || [ "$(seen)" != "$made" ]; then
  for left in "$name" $(docker ps --all --quiet --filter "label=dev.berth.service=$name"); do
    docker rm --force "$left" > /dev/null 2>&1 || :
  done
  sh "$folder/create" --label "dev.berth.definition=$digest" > /dev/null
  seen > "$folder/made.new"
  mv -f -- "$folder/made.new" "$folder/made"
fi
hand_over
case $(docker container inspect --format '{{.State.Paused}} {{.State.Restarting}}' "$name") in
  true*) docker unpause "$name" > /dev/null; exit 0 ;;
  *true) docker stop "$name" > /dev/null ;;
esac
rm -f -- "$folder/state/ready"
docker start "$name" > /dev/null
"""
)
"""Makes the container where it is not there as it must be; a name that something else has is taken from it. What was
made is recorded last, so that half of this is done again. Nobody but the login and the container's user may write into
its state: a file in it says that it is ready."""

_LOAD = (
    HAND_OVER
    + """
name=$1 folder=$2 own=$3
look='{{.State.Running}} {{index .Config.Labels "dev.berth.service"}}'
if [ "$(docker container inspect --format "$look" "$name" 2> /dev/null)" = "true $name" ]; then hand_over; fi
"""
)
"""Secrets that were written beside a container that goes on running are for its user, as at a start."""

_STOP = """
if docker container inspect "$1" > /dev/null 2>&1; then docker stop --time "$2" "$1" > /dev/null; fi
"""

_REMOVE = """
if ! command -v docker > /dev/null; then exit 0; fi
for left in "$1" $(docker ps --all --quiet --filter "label=dev.berth.service=$1"); do
  if docker container inspect "$left" > /dev/null 2>&1; then docker rm --force --volumes "$left" > /dev/null; fi
done
"""

_PUBLISHING = """
if ! command -v docker > /dev/null; then exit 0; fi
for port in "$@"; do
  docker ps --filter "publish=$port/tcp" --format "$port {{.Names}} {{.Label \\"dev.berth.service\\"}}"
done
"""

_LOOK = r"""
name=$1 folder=$2 seen=$3
encode() { if [ -f "$1" ]; then base64 < "$1" | tr -d '\n'; fi; echo; }
encode "$folder/run"
encode "$folder/runner.sh"
encode "$folder/create"
encode "$folder/made"
said=
if command -v docker > /dev/null; then
  state='{{with .State}}{{.Running}} {{.Paused}} {{.Restarting}} {{.Pid}} {{.ExitCode}} {{.OOMKilled}}{{end}}'
  state="$state {{.RestartCount}}
{{with index .Config.Labels \"dev.berth.definition\"}}{{.}}{{else}}none{{end}}"
  said=$(docker container inspect --format "$seen
$state" "$name" 2> /dev/null) || # it lacks what all of ours have, or there is none
    said=$(docker container inspect --format "unlike
$state" "$name" 2> /dev/null) || said=
fi
if [ -n "$said" ]; then printf '%s\n' "$said"; else echo; echo; echo; fi
if [ -f "$folder/state/exits" ]; then
  wc -l < "$folder/state/exits"; tail -n 1 "$folder/state/exits" | cut -d' ' -f2
else
  echo 0; echo -
fi
if [ -f "$folder/state/ready" ]; then echo yes; else echo no; fi
date +%s%N
if [ -n "$said" ] && [ -n "$4" ]; then
  docker logs --timestamps --tail 1000 --since "$4" "$name" 2>&1 | cut -b 1-4000 | base64 | tr -d '\n'
fi
echo
"""


@dataclass(frozen=True)
class Docker:
    """The host's Docker; `prefix` starts the name of every container of this stack."""

    prefix: str

    def name(self, service: Service) -> str:
        """The container's name, unique on the host."""
        return f"{self.prefix}-{service.name}"

    def unit_path(self, service: Service) -> str:
        """See `Manager`."""
        return f"{service.folder}/create"

    def unit(self, service: Service) -> str:
        """The script that makes the container."""
        said = _container(service)
        folder, state = service.folder, f"{service.folder}/state"
        locks = sorted({lock.rsplit("/", 1)[0] for lock in service.locks})
        own = (
            Mount(source=folder, target=folder),
            Mount(source=state, target=state, writable=True),
            *(Mount(source=place, target=place, writable=True) for place in locks),
        )
        return create_script(
            self.name(service),
            said.model_copy(update={"mounts": (*own, *said.mounts)}),
            ["/bin/sh", service.run_path],
            health=service.ready,
            restart=_RESTART[service.restart],
            start_period_s=service.ready_limit_s,
            stop_timeout_s=service.stop_timeout_s + _GRACE_S,
            labels={STACK: self.prefix, SERVICE: self.name(service)},
        )

    def load(self, service: Service) -> Sequence[Command]:
        """Hands secrets over where it runs; Docker learns of a container when it is made, which is at its start."""
        if not service.secrets:
            return []
        arguments = (self.name(service), service.folder, OWN)
        return [_docker(_LOAD, *arguments, says=f"handing the secrets of {service.name} over")]

    def start(self, service: Service) -> Sequence[Command]:
        """Makes the container where it is not there as it must be, and starts it; returns at once."""
        arguments = (self.name(service), service.folder, _SEEN + _NETWORKS, OWN)
        return [_docker(_START, *arguments, says=f"starting {service.name}", timeout_s=180)]

    def stop(self, service: Service) -> Sequence[Command]:
        """`docker stop` waits until the container has ended, and its restart policy leaves it alone then."""
        limit_s = service.stop_timeout_s + _GRACE_S
        arguments = (self.name(service), str(limit_s))
        return [_docker(_STOP, *arguments, says=f"stopping {service.name}", timeout_s=limit_s + 3 * _GRACE_S)]

    def unload(self, service: Service) -> Sequence[Command]:
        """Removes the container, under whatever name it goes."""
        return [_docker(_REMOVE, self.name(service), says=f"removing {service.name}", timeout_s=120)]

    def publishing(self, ports: Sequence[int]) -> Command:
        """Asks which containers publish these ports: `PORT NAME SERVICE` each."""
        return _docker(_PUBLISHING, *map(str, ports), says="looking at the ports of containers")

    def look(self, service: Service, log_from: int | None = None) -> Command:
        """See `Manager`; what Docker keeps of its output is read from a time on, in ns since 1970."""
        since = "" if log_from is None else f"{log_from // 10**9}.{log_from % 10**9:09}"
        arguments = (self.name(service), service.folder, _SEEN + _NETWORKS, since)
        return _docker(_LOOK, *arguments, says=f"looking at {service.name}")

    def read(self, stdout: str, log_from: int | None = None) -> Status:
        """See `Manager`."""
        run, runner, unit, made, now, state, label, exits, last_exit, ready, at, log, *_ = stdout.split("\n")
        running, paused, restarting, pid, code, oom, restarts = state.split() if state else ["false"] * 7
        runs = (running, paused, restarting) == ("true", "false", "false")
        current = label == hashlib.sha256((_decoded(run) + _decoded(unit)).encode()).hexdigest()
        count = int(restarts) if state else 0
        lines, end = _lines(base64.b64decode(log), log_from)
        return Status(
            run=_decoded(run),
            runner=_decoded(runner),
            unit=_decoded(unit),
            log_size=int(at) if log_from is None else end,
            exits=int(exits),
            last_exit=_how(code, killed=oom == "true") if state and last_exit == "-" else last_exit,
            pid=int(pid) if runs else None,
            current=current and _decoded(made).rstrip("\n") == now,
            ready=ready == "yes",
            log=lines,
            restarts=count,
        )

    def log(self, service: Service) -> str:
        """Where all of its lines are."""
        return f"`docker logs {self.name(service)}`"


def _container(service: Service) -> Container:
    if service.container is None:
        raise ValueError(f"{service.name} has no container")
    return service.container


def _docker(script: str, *arguments: str, says: str, timeout_s: float = 60) -> Command:
    return replace(shell(script, *arguments, says=says, timeout_s=timeout_s), docker=True)


def _lines(log: bytes, log_from: int | None) -> tuple[bytes, int]:
    """Lines that were written after a time, without their own times, and the time of the last."""
    end = log_from or 0
    kept = []
    for line in log.split(b"\n"):
        stamp, _, text = line.partition(b" ")
        at = _nanoseconds(stamp.decode(errors="replace"))
        if at > (log_from or 0):
            kept.append(text + b"\n")
            end = max(end, at)
    return b"".join(kept), end


def _nanoseconds(stamp: str) -> int:
    """`2026-01-02T03:04:05.123456789Z` as ns since 1970; 0 for what is no time."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    try:
        seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
        return seconds * 10**9 + int(f"{fraction:0<9}"[:9])
    except ValueError:
        return 0


def _how(code: str, *, killed: bool) -> str:
    return f"{code} (the kernel ended it for want of memory)" if killed else code


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")
