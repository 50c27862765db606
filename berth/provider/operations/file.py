"""A file on a host: its content, mode and owner; the folder around it is made when missing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_LOOK = """
if [ ! -e "$1" ]; then exit 4; fi
if [ ! -f "$1" ]; then exit 5; fi
stat -c '%a %U:%G' -- "$1" 2> /dev/null || exit 4
base64 < "$1"
"""

_MISSING, _SOMETHING_ELSE = 4, 5
_NOT_A_FILE = "not a file"
_OPEN_TO_OTHERS = 0o077


class FileWant(Want):
    """A file. `owner` is `user:group`, empty for whoever Berth is on that host.

    With `root` it lies where only root may write: it is read and written with root's rights, and belongs to root where
    no owner is given. The content of a `sensitive` file is a secret of Pulumi's, and its mode gives nothing to others.
    """

    path: str
    content: str = Field(repr=False)
    mode: str = Field(default="0644", pattern=r"^[0-7]{4}$")
    owner: str = ""
    sensitive: bool = False
    root: bool = False

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.sensitive and int(self.mode, 8) & _OPEN_TO_OTHERS:
            raise ValueError(f"mode {self.mode} lets others at a sensitive file; it must be 0600 or 0400")
        return self


class File(Operation[FileWant]):
    """Declares a file. A link in its place is replaced, a folder never: it may hold what nobody can bring back."""

    kind = "berth:host:File"
    wants = FileWant
    replace = frozenset({"host", "path"})

    def identity(self, want: FileWant) -> str:
        """The file's path on its host."""
        return f"{want.host}:{want.path}"

    async def observe(self, host: Host, want: FileWant) -> FileWant | None:
        """Reads content, mode and owner in one go."""
        ok = frozenset({0, _MISSING, _SOMETHING_ELSE})
        result = await host.run(shell(_LOOK, want.path, says=f"looking at {want.path}", ok=ok, root=want.root))
        if result.status == _MISSING:
            return None
        if result.status == _SOMETHING_ELSE:
            return want.model_copy(update={"content": "", "mode": _NOT_A_FILE})
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
        """One rename puts everything in place."""
        if want is None:
            script = 'rm -f -- "$1"'
            return [shell(script, have.path, says=f"removing {have.path}", root=have.root)] if have else []
        return [put(want.path, want.content, mode=want.mode, owner=want.owner, root=want.root)]

    async def preflight(self, host: Host, want: FileWant) -> None:
        """A folder in its place is for a person to remove."""
        have = await self.observe(host, want)
        if have is not None and have.mode == _NOT_A_FILE:
            raise BadInput(f"{want.path} on {host.name} is a folder, must be a file; move it away")
