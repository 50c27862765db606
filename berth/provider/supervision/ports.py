"""Which TCP ports of a host are taken, and by whom."""

from __future__ import annotations

from collections.abc import Sequence

from berth.provider.command import Command, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host

_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp

_WHO = r"""
for table in /proc/net/tcp /proc/net/tcp6; do
  [ -r "$table" ] || continue
  while read -r _ local _ state _ _ _ _ _ inode _; do
    [ "$state" = "$1" ] || continue
    port=$((0x${local##*:}))
    for wanted in $2; do
      [ "$port" = "$wanted" ] || continue
      holder=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2> /dev/null | head -n 1 | cut -d/ -f3)
      name=$(cat "/proc/${holder:-0}/comm" 2> /dev/null || echo 'another user')
      session=$(sed 's/.*) //' "/proc/${holder:-0}/stat" 2> /dev/null | cut -d' ' -f4)
      echo "$port ${holder:--} ${session:--} $name"
    done
  done < "$table"
done
"""


def who_listens(ports: Sequence[int]) -> Command:
    """Asks who listens on these ports: a line `PORT PID SESSION NAME` each, `-` for what is not ours to see."""
    return shell(_WHO, _LISTEN, " ".join(str(port) for port in ports), says="looking at the ports in use")


async def refuse_taken(host: Host, ports: Sequence[int], *, for_whom: str, session: int | None) -> None:
    """Makes sure that nobody listens on any of the ports but what runs in `session`, which will be stopped before.

    Raises:
        BadInput: somebody does; each port is named with the process.
    """
    if not ports:
        return
    answer = (await host.run(who_listens(ports))).stdout
    found = [line.split(" ", 3) for line in answer.splitlines()]
    taken = {port: (pid, name) for port, pid, holder, name in found if holder != str(session)}
    if taken:
        held = "; ".join(f"port {port} is used by {name} (process {pid})" for port, (pid, name) in taken.items())
        raise BadInput(
            f"{for_whom} on {host.name}: {held}; choose another port in the stack file, or stop that process"
        )
