"""How a login becomes root on a machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from berth.provider.command import Command, Result, shell
from berth.provider.errors import Unreachable

# -k asks anew, so that neither a password typed there a minute ago nor the next hour decides what is found.
_LEARN = r"""
if [ "$(id -u)" = 0 ]; then echo root
elif ! command -v sudo > /dev/null; then echo missing
elif said=$(sudo -k -n -- true 2>&1); then echo free
elif [ "$1" = none ]; then echo asks; echo "$said"
elif said=$(sudo -k -S -p '' -- true 2>&1); then echo password
else echo wrong; echo "$said"
fi
"""


@dataclass(frozen=True, kw_only=True)
class Sudo:
    """What goes before a command line to run it as root, and the password that sudo reads first, if it does."""

    prefix: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)


async def learn(name: str, run: Callable[[Command], Awaitable[Result]], password: SecretStr | None) -> Sudo:
    """Finds out how, in one round trip; the password travels through standard input alone.

    Raises:
        Unreachable: this login cannot become root, with what to do about it.
    """
    given = None if password is None else password.get_secret_value()
    stdin = None if given is None else f"{given}\n".encode()
    learnt = await run(
        shell(_LEARN, "none" if given is None else "given", says="finding out how to be root", stdin=stdin)
    )
    way, _, said = learnt.stdout.partition("\n")
    said = said.strip()
    setting = f"hosts.{name}.connection.ssh.sudo_password"
    match way:
        case "root":
            return Sudo()
        case "free":
            return Sudo(prefix=("sudo", "-n", "--"))
        case "password":
            return Sudo(prefix=("sudo", "-S", "-p", "", "--"), password=given)
        case "missing":
            raise Unreachable(f"{name}: the login is not root and there is no sudo; log in as root, or install sudo")
        case "asks":
            raise Unreachable(
                f"{name}: sudo needs a password ({said}); name the secret that holds it in {setting}, or let this user "
                "become root without one"
            )
    why = said or learnt.stderr.strip()
    raise Unreachable(
        f"{name}: sudo does not take the password of {setting}: {why}; correct that secret, or who may use sudo there"
    )
