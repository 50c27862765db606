"""A generated API key: random, kept only in Pulumi's state, where it is a secret."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from berth.provider.command import Command
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_BYTES = 32


class KeyWant(Want):
    """A key of that name; another `generation` is another key."""

    name: str
    generation: int = 1


class Key(Operation[KeyWant]):
    """Declares a generated key. Its value is an output, made once; every change makes a new key."""

    kind = "berth:gateway:Key"
    wants = KeyWant
    replace = frozenset({"host", "name", "generation"})

    def identity(self, want: KeyWant) -> str:
        """The key's name."""
        return want.name

    async def observe(self, host: Host, want: KeyWant) -> KeyWant | None:
        """There is nothing on a host."""
        del host
        return want

    def steps(self, want: KeyWant | None, have: KeyWant | None) -> Sequence[Command]:
        """Nothing to do on a host."""
        del want, have
        return []

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("value",)

    async def outputs(self, host: Host, want: KeyWant) -> dict[str, Any]:
        """The value: `sk-` as clients expect it, then 32 random bytes."""
        del host, want
        return {"value": "sk-" + secrets.token_urlsafe(_BYTES)}

    async def converge(self, host: Host, want: KeyWant | None, known: KeyWant) -> KeyWant | None:
        """Nothing on a host to prove."""
        del host, known
        return want
