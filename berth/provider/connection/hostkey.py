"""Fetches the key that a machine shows, for a person to compare and to pin."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncssh

from berth.provider.connection.login import options_for, over
from berth.provider.connection.reasons import CONNECT_S, Presented, Target, explain
from berth.provider.errors import Unreachable


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """A machine's public key."""

    algorithm: str
    fingerprint: str
    public: str

    def text(self, host: str) -> str:
        """What a person reads: the fingerprint, how to compare it, and the line for the stack file."""
        file = f"/etc/ssh/ssh_host_{self.algorithm.removeprefix('ssh-').split('-')[0]}_key.pub"
        return f"""{host} shows this {self.algorithm} key:

  {self.fingerprint}

Somebody in between could show another. Compare it with what the machine itself says, on its
console or in its provider's panel (ssh-keygen -lf {file}),
then pin it in the stack file, under connection.ssh of the host:

  host_key: {self.public}
"""


async def fetch(host: str, *, port: int | None = None, proxy_jump: str | None = None) -> HostKey:
    """The key of a machine by its name, its address, or its alias in the ssh configuration. Nothing is logged in to.

    Raises:
        Unreachable: it does not answer, or a machine on the way fails.
    """
    target = Target(name=host, host=host, port=port)
    options, jumps = await options_for(target, proxy_jump, checked=False)
    way = await over(target, jumps)
    try:
        async with asyncio.timeout(CONNECT_S):
            key = await asyncssh.get_server_host_key(host, options["port"], tunnel=way)
    except (OSError, ValueError, asyncssh.Error) as error:
        raise Unreachable(f"{target.where}: {explain(target, error, Presented(), None)}") from error
    finally:
        if way is not None:
            way.close()
    if key is None:
        raise Unreachable(f"{target.where}: it shows no host key; see whether that port is its sshd's")
    return HostKey(
        algorithm=key.get_algorithm(),
        fingerprint=key.get_fingerprint(),
        public=key.export_public_key().decode().strip(),
    )
