"""Commands that must not end in the middle: a package manager that is killed leaves half-installed packages."""

from __future__ import annotations

from dataclasses import replace

from berth.provider.command import Command

# Its output goes through a file, since a pipe would break with the connection. The file is opened before the command
# may remove it. `tail` looks whether the command has ended as often as -s says.
_SURVIVE = """
log=$(mktemp /run/berth.XXXXXX)
exec 3< "$log"
setsid sh -c 'log=$1; shift; status=0; "$@" || status=$?; rm -f "$log"; exit "$status"' survive "$log" "$@" \
  > "$log" 2>&1 < /dev/null 3<&- &
child=$!
tail -n +1 -s 0.2 --pid="$child" -f <&3 2> /dev/null &
reader=$!
status=0
wait "$child" || status=$?
wait "$reader" || :
exit "$status"
"""


def surviving(command: Command) -> Command:
    """The same command in a session of its own that goes on to its end when the caller is gone; it reads no input.

    Whoever comes next finds it at work, or done.
    """
    return replace(command, argv=("sh", "-c", _SURVIVE, "survive", *command.argv), stdin=None)
