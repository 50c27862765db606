"""Secrets of a service: a file for each, which only its owner can read and the start script takes over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from berth.provider.command import Command, put, shell
from berth.provider.host import Host
from berth.provider.supervision.way_back import secrets_aside

_LOOK = """
for name in "$@"; do
  if [ ! -f "$name" ]; then echo missing 0 -; continue; fi
  if [ -O "$name" ]; then of=login; else of=another; fi
  digest=$(sha256sum < "$name" 2> /dev/null) || digest=closed
  echo "${digest%% *} $(stat -c %a -- "$name") $of"
done
"""

_CLOSED = {("600", "login"), ("440", "another")}
"""The mode and owner of a file that none but its service reads; another owner is the user in a container, to whom
Docker gave it, and the group of the login looks."""


def secret_files(name: str, folder: str, secrets: Mapping[str, str]) -> Sequence[Command]:
    """Writes them for the service `name`: whoever runs containers reads them, or the engine itself.

    Those of before are kept until the engine is proved.
    """
    write = (
        put(f"{folder}/secrets/{key}", value, mode="0600", says=f"writing the secret {key} of {name}")
        for key, value in sorted(secrets.items())
    )
    return [secrets_aside(name, folder), *write]


async def seen_secrets(
    host: Host, name: str, folder: str, secrets: Mapping[str, str], there: Sequence[str]
) -> tuple[dict[str, str], bool]:
    """Those that lie `there` on the host, and whether their modes are as they were written.

    One that was changed is not shown.
    """
    if not there:
        return {}, True
    paths = [f"{folder}/secrets/{key}" for key in there]
    look = await host.run(shell(_LOOK, *paths, says=f"looking at the secrets of {name}"))
    found = [line.split() for line in look.stdout.splitlines()]
    values = [secrets.get(key, "") for key in there]
    seen = {
        key: value if hashlib.sha256(value.encode()).hexdigest() == digest else "another"
        for key, value, (digest, _, _) in zip(there, values, found, strict=True)
    }
    return seen, all((mode, of) in _CLOSED for digest, mode, of in found if digest != "missing")
