"""Commands as values: what would run on a host, with nothing run yet.

Operations build commands and never run them; a `Connection` runs them and never builds any. A value from a user is
always a whole argument or standard input, never a piece of shell text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command for a host.

    `says` is what a person reads while it runs and when it fails. `stdin` is what it reads: secrets and contents
    travel there, since arguments are visible to every user of the host. `ok` are the exit statuses that are no failure.
    With `hold`, standard input stays open and silent as long as the caller lives: its end tells a command that it
    is alone. With `root` it has the rights of root: through sudo where the login is another user's. With `docker` it
    talks to Docker, which takes those rights only where the login may not do so itself.
    """

    argv: tuple[str, ...]
    says: str
    stdin: bytes | None = None
    timeout_s: float = 60.0
    ok: frozenset[int] = frozenset({0})
    hold: bool = False
    root: bool = False
    docker: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command left: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str


def shell(
    script: str,
    *arguments: str,
    says: str,
    stdin: bytes | None = None,
    timeout_s: float = 60.0,
    ok: frozenset[int] = frozenset({0}),
    hold: bool = False,
    root: bool = False,
) -> Command:
    """A POSIX-sh script with its values as `$1`, `$2`, …; the script itself is a constant of the caller."""
    return Command(
        argv=("sh", "-eu", "-c", script, "berth", *arguments),
        says=says,
        stdin=stdin,
        timeout_s=timeout_s,
        ok=ok,
        hold=hold,
        root=root,
    )


_LEASH = """
setsid "$@" < /dev/null &
child=$!
exec 3<&0
( cat <&3
  trap '' TERM
  kill -s TERM -- "-$child"
  tries=0
  while kill -s 0 -- "-$child" && [ "$tries" -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
  kill -s KILL -- "-$child" ) > /dev/null 2>&1 &
watch=$!
exec 3<&-
status=0
wait "$child" || status=$?
kill "$watch" 2> /dev/null || :
wait "$watch" 2> /dev/null || :
exit "$status"
"""


def leashed(command: Command) -> Command:
    """The same command in a session of its own that ends when the caller is gone: for what takes long.

    Without it, an installation would go on for minutes after its update was killed, against the next one.
    """
    return replace(command, argv=("sh", "-c", _LEASH, "leash", *command.argv), stdin=None, hold=True)


# Lines must not be lost from the folder's name, so no command substitution. The size tells a whole content from one
# whose sender was killed.
_PUT = """
case $1 in /*) ;; *) set -- "./$1" "$2" "$3" "$4" ;; esac
folder=${1%/*}/
mkdir -p -- "$folder"
umask 077
new=
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
new=$(mktemp "$folder.berth.XXXXXX"; echo .)
new=${new%??}
cat > "$new"
if [ "$(wc -c < "$new")" -ne "$4" ]; then echo "only a part of the content came" >&2; exit 1; fi
chmod "$2" "$new"
if [ -n "$3" ]; then chown "$3" "$new"; fi
mv -f -- "$new" "$1"
trap - EXIT
"""


def put(
    path: str,
    content: str | bytes,
    *,
    mode: str = "0644",
    owner: str = "",
    says: str | None = None,
    root: bool = False,
) -> Command:
    """Writes a file by renaming a complete one over it, so that no reader ever sees half of it."""
    data = content.encode() if isinstance(content, str) else content
    return shell(_PUT, path, mode, owner, str(len(data)), stdin=data, says=says or f"writing {path}", root=root)
