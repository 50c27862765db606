"""What a service's folder keeps for the way back: the secrets of before a change, and that this engine has served."""

from __future__ import annotations

from berth.provider.command import Command, shell
from berth.provider.host import Host

# The name says of which definition they were. Where that still lies there, an update died before it had written another
# one, and what lies in secrets/ may be half of what it wrote.
_ASIDE = """
cd -- "$1" 2> /dev/null || exit 0
of=none
if [ -f run ]; then of=$(sha256sum < run); of=${of%% *}; fi
if [ -d "secrets.before.$of" ]; then rm -rf secrets; exit 0; fi
rm -rf secrets.before.*
if [ -d secrets ]; then mv -- secrets "secrets.before.$of"; else mkdir -m 0700 -- "secrets.before.$of"; fi
"""

_BACK = """
cd -- "$1"
for kept in secrets.before.*; do
  if [ -d "$kept" ]; then
    rm -rf secrets
    mv -- "$kept" secrets
    rmdir secrets 2> /dev/null || : # there were none
  fi
done
"""

_SETTLED = 'cd -- "$1"; : > served; rm -rf secrets.before.*'

_SERVED = 'if [ -f "$1/served" ]; then echo yes; fi'


def secrets_aside(name: str, folder: str) -> Command:
    """Keeps the secrets of the service `name` as they are, modes and owners too, while other ones are written."""
    return shell(_ASIDE, folder, says=f"putting the secrets of {name} aside")


def secrets_back(name: str, folder: str) -> Command:
    """Puts back what was kept; nothing where nothing was."""
    return shell(_BACK, folder, says=f"putting the secrets of {name} back")


def settled(name: str, folder: str) -> Command:
    """There is no way back any more: the service answers, and what was kept goes."""
    return shell(_SETTLED, folder, says=f"keeping that {name} has served")


async def has_served(host: Host, name: str, folder: str) -> bool:
    """Whether it has ever answered."""
    return (
        await host.run(shell(_SERVED, folder, says=f"looking at whether {name} has served"))
    ).stdout.strip() == "yes"
