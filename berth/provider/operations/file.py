"""A file on a host: its content, mode and owner; the folder around it is made when missing."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from berth.provider.command import Command, put, shell
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_LOOK = """
if [ ! -e "$1" ]; then exit 4; fi
if [ ! -f "$1" ]; then exit 5; fi
stat -c '%a %U:%G' -- "$1"
base64 < "$1"
"""

_REMOVE = """
rm -rf -- "$1"
rmdir -- "$(dirname -- "$1")" 2> /dev/null || :
"""


class FileWant(Want):
    """A file. `owner` is `user:group`, empty for whoever Berth is on that host. A secret content is a secret input."""

    path: str
    content: str
    mode: str = "0644"
    owner: str = ""


class File(Operation[FileWant]):
    """Declares a file; a folder or a link in its place is replaced."""

    kind = "berth:host:File"
    wants = FileWant
    replace = frozenset({"host", "path"})

    def identity(self, want: FileWant) -> str:
        """The file's path on its host."""
        return f"{want.host}:{want.path}"

    async def observe(self, host: Host, want: FileWant) -> FileWant | None:
        """Reads content, mode and owner in one go."""
        result = await host.run(shell(_LOOK, want.path, says=f"looking at {want.path}", ok=frozenset({0, 4, 5})))
        if result.status == 4:
            return None
        if result.status == 5:
            return want.model_copy(update={"content": "", "mode": "not a file"})
        first, _, encoded = result.stdout.partition("\n")
        mode, owner = first.split(" ")
        return want.model_copy(
            update={
                "content": base64.b64decode(encoded).decode(errors="replace"),
                "mode": mode.zfill(4),
                "owner": owner if want.owner else "",
            }
        )

    def steps(self, want: FileWant | None, have: FileWant | None) -> Sequence[Command]:
        """One rename puts everything in place; removing takes the folder too when that was its last file."""
        if want is None:
            return [shell(_REMOVE, have.path, says=f"removing {have.path}")] if have else []
        if have is not None and have.mode == "not a file":
            return [
                shell(_REMOVE, want.path, says=f"removing what is in the way of {want.path}"),
                *self.steps(want, None),
            ]
        return [put(want.path, want.content, mode=want.mode, owner=want.owner)]
