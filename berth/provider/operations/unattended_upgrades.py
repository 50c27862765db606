"""What unattended upgrades leave alone: a new driver under a running engine breaks its next start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from berth.facts import HostFacts
from berth.provider.command import Command, put, shell
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want

Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9^$.*+?()|_-]+$")]

PATTERNS = [
    *("nvidia", "libnv", "cuda", "libcuda", "firmware-nvidia", "xserver-xorg-video-nvidia"),
    *("lib(egl|gl1|gles|glx)-nvidia", "docker-ce", "docker.io", "containerd", "runc"),
]
"""What the driver, the container toolkit and Docker come in, as NVIDIA, Docker, Ubuntu and Debian name it."""

PATH = "/etc/apt/apt.conf.d/52berth-unattended-upgrades"
"""Read after the package's own file; apt's lists grow with each file."""

_PACKAGE = "unattended-upgrades"
_REMOVE = """
rm -f -- "$1"
"""


class UnattendedUpgradesWant(Want):
    """Patterns that unattended-upgrades (apt) matches with the beginning of package names.

    There is nothing to declare where that package is not installed, and none is installed for it. dnf-automatic obeys
    versionlock, so that `Packages` with `hold` is enough there.
    """

    patterns: list[Pattern] = Field(default=PATTERNS, min_length=1)
    on_destroy: Literal["keep", "remove"] = "keep"


class UnattendedUpgrades(FactOperation[UnattendedUpgradesWant]):
    """Declares what unattended upgrades leave alone."""

    kind = "berth:host:UnattendedUpgrades"
    wants = UnattendedUpgradesWant

    def identity(self, want: UnattendedUpgradesWant) -> str:
        """One for each host."""
        return f"{want.host}:unattended-upgrades"

    def seen(self, facts: HostFacts, want: UnattendedUpgradesWant) -> UnattendedUpgradesWant | None:
        """The patterns of our own file; where nothing upgrades unattended, all is as declared."""
        package, file = facts.packages.get(_PACKAGE), facts.files.get(PATH)
        if package is None or package.state == "config-files":
            return want
        if file is None:
            return None
        found = re.findall(r'^\s*"(.*)";$', file.content or "", re.MULTILINE)
        edited = file.content != _text(found)
        return want.model_copy(update={"patterns": ["(edited by hand)"] if edited else found})

    def steps(self, want: UnattendedUpgradesWant | None, have: UnattendedUpgradesWant | None) -> Sequence[Command]:
        """One file; unattended-upgrades reads it at each of its runs."""
        if want is None:
            return [] if have is None else [shell(_REMOVE, PATH, says=f"removing {PATH}", root=True)]
        if have is not None and have.patterns == want.patterns:
            return []
        return [put(PATH, _text(want.patterns), root=True)]

    async def converge(
        self, host: Host, want: UnattendedUpgradesWant | None, known: UnattendedUpgradesWant
    ) -> UnattendedUpgradesWant | None:
        """Removing it needs no look: where nothing upgrades unattended, there is nothing to see."""
        if want is None and known.on_destroy == "remove":
            await self.apply(host, None, known)
            host.gathered.forget()
            return None
        return await super().converge(host, want, known)


def _text(patterns: Sequence[str]) -> str:
    lines = "".join(f'  "{pattern}";\n' for pattern in patterns)
    return (
        "// Written by Berth: a driver that is upgraded under a running engine breaks its next start.\n"
        f"Unattended-Upgrade::Package-Blacklist {{\n{lines}}};\n"
    )
