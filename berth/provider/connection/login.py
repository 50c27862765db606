"""Opens SSH connections to machines whose key is known, over others where asked, and says in words why one fails."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, cast

import asyncssh
from asyncssh.encryption import get_default_encryption_algs
from asyncssh.public_key import get_default_public_key_algs

from berth.provider.connection.reasons import CONNECT_S, DEFAULT_PORT, Presented, Target, explain
from berth.provider.connection.settings import SshSettings
from berth.provider.errors import Unreachable

_KEEPALIVE_S, _KEEPALIVES = 15, 3
"""A machine that answers nothing for a minute is gone: shorter would cut off one that is only busy."""


async def login(name: str, settings: SshSettings) -> asyncssh.SSHClientConnection:
    """Logs in to a machine, over the machines before it where there are any; its end is theirs as well.

    Raises:
        Unreachable: with the cause and what to do about it.
    """
    target = Target(
        name=name,
        host=settings.host,
        user=settings.user,
        # 22 is what the stack file's port is when nobody wrote one: an alias may say another
        port=None if settings.port == DEFAULT_PORT else settings.port,
        host_key=settings.host_key,
        key_file=settings.key_file,
    )
    return await _connect(target, jumps=settings.proxy_jump)


async def options_for(target: Target, jumps: str | None = None, *, checked: bool = True) -> tuple[dict[str, Any], str]:
    """The options to connect to a machine with, and the machines to go over, as `a,b`.

    Without `checked` they say nothing of its host key.

    Raises:
        Unreachable: its settings cannot be used.
    """
    options: dict[str, Any] = {"host": target.host, "port": target.port or (), "username": target.user or ()}
    try:
        if target.key_file is not None:
            options |= _key(target.key_file)
        seen = await asyncssh.SSHClientConnectionOptions.construct(**options, config=())  # the user's own
    except (OSError, ValueError, asyncssh.Error) as error:
        raise Unreachable(f"{target.where}: {_settings_problem(target, error)}") from error
    usual = get_default_encryption_algs()
    if seen.encryption_algs == usual:  # nobody asked for others
        quick_first = sorted(usual, key=lambda kind: b"gcm" not in kind)
        options["encryption_algs"] = [kind.decode() for kind in quick_first]  # in Python a fifth of ChaCha20's time
    if checked:
        options |= _trust(target, seen)
    configured = seen.tunnel if isinstance(seen.tunnel, str) and seen.tunnel != "none" else ""
    return options, jumps or configured


async def over(target: Target, jumps: str) -> asyncssh.SSHClientConnection | None:
    """A connection to the last of the machines before one, each reached over the one before; None without any.

    Raises:
        Unreachable: one of them fails.
    """
    way: asyncssh.SSHClientConnection | None = None
    for hop in filter(None, jumps.split(",")):
        before = _jump(target, hop)
        if before.host != target.host:  # `Host *` with a ProxyJump holds for that machine itself too
            way = await _connect(before, way=way)
    return way


async def _connect(
    target: Target, *, jumps: str | None = None, way: asyncssh.SSHClientConnection | None = None
) -> asyncssh.SSHClientConnection:
    presented = Presented()
    known: Any = None
    try:
        options, configured = await options_for(target, jumps)
        known = options["known_hosts"]
        way = way or await over(target, configured)
        client = await asyncssh.connect(
            **options,
            tunnel=way,
            client_factory=lambda: presented,
            preferred_auth=["publickey"],  # nobody is there to type a password
            connect_timeout=CONNECT_S,
            keepalive_interval=_KEEPALIVE_S,
            keepalive_count_max=_KEEPALIVES,
            agent_forwarding=False,
        )
    except BaseException as error:
        if way is not None:
            way.close()
        if isinstance(error, OSError | ValueError | asyncssh.Error):
            raise Unreachable(f"{target.where}: {explain(target, error, presented, known)}") from error
        raise
    client.set_tunnel(way)
    return client


def _key(path: str) -> dict[str, Any]:
    """The options for one private key: the file itself or, where a passphrase protects it, the agent that holds it."""
    try:
        return {"client_keys": [asyncssh.read_private_key(path)], "agent_path": None}
    except asyncssh.KeyImportError as error:
        if "assphrase" not in str(error) or not Path(f"{path}.pub").is_file() or "SSH_AUTH_SOCK" not in os.environ:
            raise
    return {"agent_identities": [asyncssh.read_public_key(f"{path}.pub")]}


def _trust(target: Target, seen: asyncssh.SSHClientConnectionOptions) -> dict[str, Any]:
    """The options for the machine's own key."""
    known = _trusted(target, seen)
    host, port = seen.host_key_alias or seen.host, None if seen.port == DEFAULT_PORT else seen.port
    keys, authorities, *_ = asyncssh.match_known_hosts(known, host, "", port)
    if not keys or authorities:
        return {"known_hosts": known}
    # of the known kinds first, and any other after them: it is then seen to differ, not just not to agree
    kinds = [kind for key in keys for kind in key.sig_algorithms] + get_default_public_key_algs()
    return {"known_hosts": known, "server_host_key_algs": [kind.decode() for kind in dict.fromkeys(kinds)]}


def _trusted(target: Target, seen: asyncssh.SSHClientConnectionOptions) -> Any:
    """Whose keys are taken: the one of the stack file, else what the user's known_hosts say."""
    if target.host_key is not None:
        try:
            return ([asyncssh.import_public_key(target.host_key)], [], [])
        except asyncssh.KeyImportError as error:
            raise Unreachable(
                f"{target.setting('host_key')}: is no public key ({error}), must be a line as "
                f"`berth hostkey {target.host}` prints it"
            ) from error
    if seen.known_hosts is None:
        raise Unreachable(
            f"{target.where}: the ssh configuration says that no host key is checked (UserKnownHostsFile none); "
            f"give its key in {target.setting('host_key')} (`berth hostkey {target.host}`)"
        )
    # always paths: only the configuration has said anything about them so far
    named = cast("list[str]", seen.known_hosts) or ["~/.ssh/known_hosts"]
    files = [Path(path).expanduser() for path in named]
    return asyncssh.import_known_hosts("".join(file.read_text() + "\n" for file in files if file.is_file()))


_HOP = re.compile(r"(?:(?P<user>.+)@)?(?:\[(?P<bracketed>[^]]+)]|(?P<host>[^:]+|.*:.*:.*?))(?::(?P<port>\d+))?")


def _jump(target: Target, hop: str) -> Target:
    """A machine to go over from `user@host:port`."""
    said = _HOP.fullmatch(hop.strip())
    if said is None:
        raise Unreachable(f"{target.setting('proxy_jump')}: is {hop!r}, must be like user@host:port")
    return Target(
        name=target.name,
        host=said["bracketed"] or said["host"],
        user=said["user"],
        port=int(said["port"]) if said["port"] else None,
        on_the_way=True,
    )


def _settings_problem(target: Target, error: Exception) -> str:
    if target.key_file is not None and isinstance(error, OSError | asyncssh.KeyImportError):
        why = error.strerror if isinstance(error, OSError) else error
        return (
            f"the key file {target.key_file} cannot be used ({why}); correct {target.setting('key_file')}, and add a "
            "key with a passphrase to an agent (ssh-add)"
        )
    return f"the ssh configuration cannot be used: {error}"
