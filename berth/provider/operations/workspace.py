"""The folder on a host that holds all that a stack makes there; removing it sweeps by what is there, not by state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from berth.provider.command import Command, shell
from berth.provider.host import Host
from berth.provider.locks import HOLDER
from berth.provider.operation import Operation, Want

# Whatever a killed update left: units of systemd first (they would start again what is stopped), then supervisord (so
# would it), then what runs in the sessions that the runners recorded, then the folder. Only a unit that was left makes
# systemd read its units anew, which takes the GPUs from containers that got them without CDI.
_SWEEP = r"""
if [ -d /run/systemd/system ]; then
  for unit in /etc/systemd/system/"$2"-*.service; do
    [ -e "$unit" ] || continue
    systemctl disable --quiet --now "$(basename -- "$unit")" 2> /dev/null || :
    rm -f -- "$unit"
    left=yes
  done
  if [ -n "${left:-}" ]; then systemctl daemon-reload; fi
fi
end() { # kills what $1 lists until it lists nothing
  while left=$("$@") && [ -n "$left" ]; do
    kill -KILL $left 2> /dev/null || :
    sleep 0.2
  done
}
running() { if kill -0 "$1" 2> /dev/null && grep -qs -- "$2" "/proc/$1/cmdline"; then echo "$1"; fi; }
started() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d' ' -f20; }
members() { # that another process goes while they are read is no failure
  sed -n "s/^\([0-9]*\) (.*) [^ZX] [0-9]* [0-9]* $1 .*/\1/p" /proc/[0-9]*/stat 2> /dev/null || :
}
if [ -f "$1/supervisor/pid" ]; then end running "$(cat -- "$1/supervisor/pid")" "$1/supervisor/supervisord.conf"; fi
for record in "$1"/services/*/state/process; do
  [ -f "$record" ] || continue
  [ ! -e "${record%/state/process}/create" ] || continue # its numbers are those of a container
  read -r session start runner _ _ boot _ < "$record"
  [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] || continue
  end running "$runner" "$1"
  if [ -e "/proc/$session" ] && [ "$(started "$session")" != "$start" ]; then continue; fi # its id is another's now
  end members "$session"
done
workspace=$1
shift 2
for name in "$@"; do rm -rf -- "$workspace/$name"; done
rmdir -- "$workspace" 2> /dev/null || :
"""

_CONTAINERS = """
if command -v docker > /dev/null; then
  for left in $(docker ps --all --quiet --filter "label=dev.berth.stack=$1" 2> /dev/null); do
    docker rm --force --volumes "$left" > /dev/null
  done
fi
"""
"""Where Docker does not answer, nothing of it runs, and whoever has no containers must not need it."""

_OURS = ("bin", "environments", "gateway", "logs", "models", "monitoring", "services", "supervisor", HOLDER)
"""What Berth puts into a workspace. Nothing else is removed: the folder may have been a person's before."""

_LOOK = """
workspace=$1
shift
for name in "$@"; do
  if [ -e "$workspace/$name" ]; then echo "$name"; fi
done
"""


class WorkspaceWant(Want):
    """A stack's folder on a host; `unit_prefix` starts the names of its systemd units and containers."""

    path: str
    unit_prefix: str = "berth"


class Workspace(Operation[WorkspaceWant]):
    """Declares the folder.

    It is not made here: what is put into it makes it, after this is in the state, so that a `destroy` after a kill at
    any moment finds this resource and sweeps.
    """

    kind = "berth:host:Workspace"
    wants = WorkspaceWant
    replace = frozenset({"host", "path"})
    delete_first = True

    def identity(self, want: WorkspaceWant) -> str:
        """The folder on its host."""
        return f"{want.host}:{want.path}"

    async def observe(self, host: Host, want: WorkspaceWant) -> WorkspaceWant | None:
        """There is nothing that could differ; an empty place is as good as a folder."""
        del host
        return want

    def steps(self, want: WorkspaceWant | None, have: WorkspaceWant | None) -> Sequence[Command]:
        """Only removing does anything."""
        if want is not None or have is None:
            return []
        containers = shell(_CONTAINERS, have.unit_prefix, says="removing containers", timeout_s=300)
        return [
            replace(containers, docker=True),
            shell(_SWEEP, have.path, have.unit_prefix, *_OURS, says=f"removing {have.path}", timeout_s=300),
        ]

    async def converge(self, host: Host, want: WorkspaceWant | None, known: WorkspaceWant) -> WorkspaceWant | None:
        """Removing is proved by looking at the folder itself."""
        if want is not None:
            return want
        await self.apply(host, None, known)
        left = await host.run(shell(_LOOK, known.path, *_OURS, says=f"looking at {known.path}"))
        return known if left.stdout else None
