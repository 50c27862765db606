"""Waits until the gateway has nothing in flight at an engine."""

from __future__ import annotations

from berth.provider.command import shell
from berth.provider.host import Host

# The client's end of a connection is on this host whoever publishes the port. Whose it is shows in the descriptors of
# the gateway, known by the port of its administration; where they cannot be read, everybody's connections count. A
# gateway that does not run sends nothing.
_CONNECTIONS = """
open() {
  awk -v "port=:$1" -v "state=$2" '$4 == state && $'"$3"' ~ port "$" { print $10 }' /proc/net/tcp /proc/net/tcp6
}
port=$(printf '%04X' "$1") limit=$2 gateway=
listening=$(open "$(printf '%04X' "$3")" 0A 2 2> /dev/null | head -n 1)
if [ -z "$listening" ] && [ "$3" -ne 0 ]; then exit 0; fi
if [ -n "$listening" ]; then
  for one in /proc/[0-9]*/fd; do
    if ls -l "$one" 2> /dev/null | grep -qF "socket:[$listening]"; then gateway=$one; break; fi
  done
fi
while [ "$limit" -gt 0 ]; do
  found=$(open "$port" 01 3 2> /dev/null || :)
  if [ -n "$gateway" ] && [ -n "$found" ]; then
    found=$(ls -l "$gateway" 2> /dev/null | grep -F "$(printf 'socket:[%s]\\n' $found)" || :)
  fi
  if [ -z "$found" ]; then exit 0; fi
  limit=$((limit - 1))
  sleep 1
done
"""


async def drain(host: Host, name: str, *, port: int, admin_port: int, limit_s: int) -> None:
    """Waits until the gateway has no connection to the engine on `port`, for `limit_s` seconds at most.

    It closes each when its last answer is complete. Others keep theirs: who measures engines asks again and again on
    one connection.
    """
    says = f"{name}: waiting for running requests"
    arguments = (str(port), str(limit_s), str(admin_port))
    await host.run(shell(_CONNECTIONS, *arguments, says=says, timeout_s=limit_s + 30))
