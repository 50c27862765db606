"""The signing key of a repository, fetched by the host from its address and looked at here before it is trusted."""

from __future__ import annotations

import base64

from berth.provider.command import Command, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.packaging.openpgp import UntrustedKey, only
from berth.provider.packaging.running import run

# Into a folder that only root may write, by whatever of these is there; apt-helper knows the proxy that apt has.
_FETCH = """
new=$(mktemp -d)
trap 'rm -rf -- "$new"' EXIT
why="curl, wget or apt is needed to fetch it"
for tool in curl wget /usr/lib/apt/apt-helper; do
  command -v "$tool" > /dev/null || continue
  case $tool in
    curl) set -- "$1" curl -fsSL --retry 3 --max-time 120 --max-filesize 1000000 -o "$new/key" -- "$1" ;;
    wget) set -- "$1" wget -q --tries=3 --timeout=60 -O "$new/key" -- "$1" ;;
    *) set -- "$1" "$tool" -q download-file "$1" "$new/key" ;;
  esac
  address=$1
  shift
  if why=$("$@" 2>&1); then base64 < "$new/key"; exit 0; fi
  set -- "$address"
done
printf '%s\\n' "$why" >&2
exit 1
"""


def look(address: str) -> Command:
    """Fetches the key to be looked at here."""
    return shell(_FETCH, address, says=f"fetching the key {address}", timeout_s=600)


async def fetched(host: Host, address: str, fingerprint: str, *, where: str) -> str:
    """The key of this fingerprint from an address that the host can reach, armoured; `where` begins a refusal.

    Raises:
        BadInput: it is another key.
    """
    answer = await run(host, look(address))
    try:
        return only(base64.b64decode(answer.stdout), fingerprint)
    except UntrustedKey as problem:
        raise BadInput(
            f"{where}: {address} {problem}; nothing was changed; compare with what the publisher says, and declare the "
            "fingerprint only when you trust it"
        ) from None
