"""Why a machine was not reached over SSH, and what to do about it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import asyncssh

CONNECT_S = 20
"""For name, network, keys and login together."""
DEFAULT_PORT = 22


@dataclass(frozen=True, kw_only=True)
class Target:
    """One machine to log in to; `name` is what the stack calls it, or the machine behind this one."""

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    host_key: str | None = None
    key_file: str | None = None
    on_the_way: bool = False

    @property
    def where(self) -> str:
        """What starts every message about it."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.name}: ssh {'over ' if self.on_the_way else ''}{user}{self.host}{port}"

    def setting(self, *keys: str) -> str:
        """Where the user has said this."""
        if self.on_the_way:
            return f"hosts.{self.name}.connection.ssh.proxy_jump or ~/.ssh/config"
        return f"hosts.{self.name}.connection.ssh.{' or '.join(keys)}"


class Presented(asyncssh.SSHClient):
    """Keeps the key that a machine shows when nobody vouches for it."""

    def __init__(self) -> None:
        self.key: asyncssh.SSHKey | None = None
        self.address: tuple[str, str, int | None] = ("", "", None)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Never trusts on first use."""
        self.key = key
        self.address = (host, addr, None if port == DEFAULT_PORT else port)
        return False


def explain(target: Target, error: BaseException, presented: Presented, known_hosts: Any) -> str:
    """Cause and cure of a connection that did not come up."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _host_key(target, error, presented, known_hosts)
    if isinstance(error, asyncssh.PermissionDenied):
        tried = f"the key {target.key_file}" if target.key_file else "the agent's keys and the usual key files"
        return (
            f"the machine refused the login with {tried} ({error.reason}); add the public key to "
            f"~/.ssh/authorized_keys there, or correct {target.setting('user', 'key_file')}"
        )
    return _network(target, error) or _protocol(target, error) or str(error) or type(error).__name__


def _network(target: Target, error: BaseException) -> str | None:
    match error:
        case socket.gaierror():
            return (
                f"the name {target.host} is not known ({error.strerror}); correct {target.setting('host')}, or add the "
                "alias to ~/.ssh/config"
            )
        case ConnectionRefusedError():
            return f"nothing listens there; start sshd on that machine, or correct {target.setting('host', 'port')}"
        case TimeoutError():
            return (
                f"no answer within {CONNECT_S} s; see whether the machine is on and a firewall lets this one in, "
                f"or correct {target.setting('host', 'port')}"
            )
        case asyncssh.ConnectionLost() | ConnectionResetError():
            return (
                f"the machine hung up during the login ({error}); it may be restarting, or refuse many logins at once "
                "(MaxStartups, fail2ban)"
            )
    return None


def _protocol(target: Target, error: BaseException) -> str | None:
    match error:
        case asyncssh.KeyExchangeFailed():
            return (
                f"no agreement on keys ({error.reason}); where it has no host key of the known kind any more, "
                f"see `berth hostkey {target.host}`"
            )
        case asyncssh.DisconnectError() if "oo many" in error.reason:
            return (
                f"{error.reason}; the agent holds more keys than it accepts: name one in {target.setting('key_file')}"
            )
        case asyncssh.ChannelOpenError():
            return (
                f"the machine on the way does not get through to it ({error.reason}); see "
                f"{target.setting('proxy_jump')}"
            )
    return None


def _host_key(target: Target, error: Exception, presented: Presented, known_hosts: Any) -> str:
    pinned = "a line of ~/.ssh/known_hosts" if target.on_the_way else target.setting("host_key")
    if presented.key is None:
        return f"its host key is not to be trusted: {error}"
    shown = f"{presented.key.get_algorithm()} {presented.key.get_fingerprint()}"
    known = asyncssh.match_known_hosts(known_hosts, *presented.address)[0]
    if not known:
        return (
            f"its host key is not known ({shown}); `berth hostkey {target.host}` prints the line to add as {pinned}, "
            "once the fingerprint is seen to be the machine's own"
        )
    expected = ", ".join(f"{key.get_algorithm()} {key.get_fingerprint()}" for key in known)
    source = pinned if target.host_key is not None else "known_hosts"
    return (
        f"its host key differs: it shows {shown}, {source} says {expected}; somebody may be in between. Only where "
        f"the machine was set up anew, take its new key (`berth hostkey {target.host}`)"
    )
