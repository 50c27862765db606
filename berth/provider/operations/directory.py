"""A folder on a host: its mode and owner. What lies in it belongs to whoever put it there."""

from __future__ import annotations

from collections.abc import Sequence

from berth.provider.command import Command, shell
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_LOOK = """
if [ ! -e "$1" ] && [ ! -L "$1" ]; then exit 4; fi
if [ ! -d "$1" ] || [ -L "$1" ]; then exit 5; fi
stat -c '%a %U:%G' -- "$1"
"""

_MAKE = """
if [ -L "$1" ]; then echo "$1 is a link, must be a folder; move it away" >&2; exit 1; fi
if [ ! -d "$1" ]; then mkdir -p -m "$2" -- "$1"; fi
chmod "$2" -- "$1"
if [ -n "$3" ]; then chown "$3" -- "$1"; fi
"""

_MISSING, _SOMETHING_ELSE = 4, 5


class DirectoryWant(Want):
    """A folder. `owner` is `user:group`, empty for whoever Berth is on that host.

    With `root` it lies where only root may write, and belongs to root where no owner is given.
    """

    path: str
    mode: str = "0755"
    owner: str = ""
    root: bool = False


class Directory(Operation[DirectoryWant]):
    """Declares a folder; it is removed only when it is empty, since it may hold what others put there."""

    kind = "berth:host:Directory"
    wants = DirectoryWant
    replace = frozenset({"host", "path"})

    def identity(self, want: DirectoryWant) -> str:
        """The folder's path on its host."""
        return f"{want.host}:{want.path}"

    async def observe(self, host: Host, want: DirectoryWant) -> DirectoryWant | None:
        """Reads mode and owner."""
        ok = frozenset({0, _MISSING, _SOMETHING_ELSE})
        result = await host.run(shell(_LOOK, want.path, says=f"looking at {want.path}", ok=ok, root=want.root))
        if result.status == _MISSING:
            return None
        if result.status == _SOMETHING_ELSE:
            return want.model_copy(update={"mode": "not a folder"})
        mode, owner = result.stdout.strip().split(" ")
        return want.model_copy(update={"mode": mode.zfill(4), "owner": owner if want.owner else ""})

    def steps(self, want: DirectoryWant | None, have: DirectoryWant | None) -> Sequence[Command]:
        """Makes it and the folders above it; a file in its place is not removed, and the command says so."""
        if want is None:
            script = 'rmdir -- "$1" 2> /dev/null || :'
            says = f"removing {have.path} if it is empty" if have is not None else ""
            return [] if have is None else [shell(script, have.path, says=says, root=have.root)]
        return [shell(_MAKE, want.path, want.mode, want.owner, says=f"making {want.path}", root=want.root)]

    async def converge(self, host: Host, want: DirectoryWant | None, known: DirectoryWant) -> DirectoryWant | None:
        """One that still holds something is left, which is no failure."""
        if want is None:
            await self.apply(host, None, known)
            return None
        return await super().converge(host, want, known)
