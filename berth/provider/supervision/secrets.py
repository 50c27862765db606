"""Secrets of a service: a file for each, which only its owner can read and the start script takes over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from berth.provider.command import Command, put, shell
from berth.provider.host import Host

_DIGESTS = """
for name in "$@"; do
  if [ -f "$name" ]; then sha256sum < "$name" | cut -d' ' -f1; else echo missing; fi
done
"""


def secret_files(name: str, folder: str, secrets: Mapping[str, str]) -> Sequence[Command]:
    """Writes them for the service `name`: whoever runs containers reads them, or the engine itself."""
    clear = shell('rm -rf -- "$1/secrets"', folder, says=f"clearing the secrets of {name}")
    write = (
        put(f"{folder}/secrets/{key}", value, mode="0600", says=f"writing the secret {key} of {name}")
        for key, value in sorted(secrets.items())
    )
    return [clear, *write]


async def seen_secrets(
    host: Host, name: str, folder: str, secrets: Mapping[str, str], there: Sequence[str]
) -> dict[str, str]:
    """Those that lie `there` on the host; one that was changed is not shown."""
    if not there:
        return {}
    paths = [f"{folder}/secrets/{key}" for key in there]
    digests = (await host.run(shell(_DIGESTS, *paths, says=f"looking at the secrets of {name}"))).stdout.split()
    values = [secrets.get(key, "") for key in there]
    return {
        key: value if hashlib.sha256(value.encode()).hexdigest() == digest else "another"
        for key, value, digest in zip(there, values, digests, strict=True)
    }
