"""Persistence mode: the driver keeps its cards awake without a client, after every boot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from berth.facts import HostFacts
from berth.facts.model import FileFact
from berth.provider.command import Command, put, shell
from berth.provider.host import Host
from berth.provider.legacy_gpus import told
from berth.provider.operation import FactOperation, Want
from berth.provider.unchangeable import refuse_unchangeable

UNIT = "nvidia-persistenced.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/90-berth.conf"

# Ubuntu's unit says --no-persistence-mode and has no [Install], so that it neither turns the mode on nor starts at boot
# by itself. As root, as NVIDIA's own role runs it: the service's own user has another name on each system.
CONTENT = """# Written by Berth: persistence mode on, at every boot.
[Service]
ExecStart=
ExecStart=/usr/bin/nvidia-persistenced --persistence-mode --verbose

[Install]
WantedBy=multi-user.target
"""

_RESTART = """
if ! systemctl cat -- "$1" > /dev/null 2>&1; then
  echo "$1 is not there; it comes with the driver (package nvidia-persistenced or nvidia-compute-utils)" >&2
  exit 3
fi
if [ "$2" = enable ]; then systemctl daemon-reload; systemctl enable -- "$1"; fi
if ! systemctl restart -- "$1"; then
  journalctl --no-pager --output=cat --lines=8 --unit="$1" >&2 || :
  exit 1
fi
if nvidia-smi --query-gpu=persistence_mode --format=csv,noheader | grep -q Disabled; then
  nvidia-smi --persistence-mode=1
fi
"""
_REMOVE = """
rm -f -- "$2"
rmdir -- "$(dirname -- "$2")" 2> /dev/null || :
systemctl disable -- "$1" 2> /dev/null || :
systemctl daemon-reload
systemctl try-restart -- "$1" || :
"""


class PersistenceModeWant(Want):
    """nvidia-persistenced with persistence mode on.

    `drop_in`, `daemon` and `mode` are there to be observed: the drop-in that Berth writes (not loaded where an update
    was cut before systemd read it), the daemon's unit, and what the cards say.
    """

    drop_in: Literal["as declared", "edited by hand", "not loaded"] = "as declared"
    daemon: Literal["running", "stopped", "not at boot", "missing"] = "running"
    mode: Literal["on", "off"] = "on"
    on_destroy: Literal["keep", "remove"] = "keep"


class PersistenceMode(FactOperation[PersistenceModeWant]):
    """Declares persistence mode of all cards of a host."""

    kind = "berth:host:PersistenceMode"
    wants = PersistenceModeWant

    def identity(self, want: PersistenceModeWant) -> str:
        """One for each host."""
        return f"{want.host}:persistence-mode"

    def seen(self, facts: HostFacts, want: PersistenceModeWant) -> PersistenceModeWant | None:
        """The drop-in, the unit and the cards; without the drop-in nothing of it is declared there.

        In a container, where no service is its own, what the cards say is all.
        """
        file = facts.files.get(DROP_IN)
        if facts.guest:
            return want.model_copy(update={"mode": "on" if _is_on(facts) else "off"})
        if file is None:
            return None
        return want.model_copy(
            update={
                "drop_in": _drop_in(facts, file),
                "daemon": _daemon(facts),
                "mode": "on" if _is_on(facts) else "off",
            }
        )

    def steps(self, want: PersistenceModeWant | None, have: PersistenceModeWant | None) -> Sequence[Command]:
        """Writes the drop-in where it differs and starts the daemon anew, which turns the mode on."""
        if want is None:
            says = "turning off what Berth set of nvidia-persistenced"
            return [] if have is None else [shell(_REMOVE, UNIT, DROP_IN, says=says, root=True)]
        if have is not None and not self.differing(want, have):
            return []
        says = "turning persistence mode on"
        if have is not None and have.drop_in == "as declared" and have.daemon in {"running", "stopped"}:
            return [shell(_RESTART, UNIT, "start", says=says, root=True)]
        return [put(DROP_IN, CONTENT, root=True), shell(_RESTART, UNIT, "enable", says=says, root=True)]

    async def preflight(self, host: Host, want: PersistenceModeWant) -> None:
        """A pod cannot set it; said before anything is tried."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is None or self.differing(want, have):
            mode = "on, not at every boot" if _is_on(facts) else "off"
            refuse_unchangeable(facts, host.name, f"persistence mode is {mode}, must be on and at every boot")

    async def warnings(self, host: Host, want: PersistenceModeWant) -> Sequence[str]:
        """The daemon-reload that a new drop-in needs may take cards from containers."""
        facts = await host.facts()
        have = self.seen(facts, want)
        reloads = have is None or have.drop_in != "as declared" or have.daemon not in {"running", "stopped"}
        return told(facts, host.name) if reloads else ()


def _is_on(facts: HostFacts) -> bool:
    """Whether every card says so; one that cannot say it is none against it."""
    return bool(facts.gpus) and all(gpu.persistence is not False for gpu in facts.gpus)


def _drop_in(facts: HostFacts, file: FileFact) -> Literal["as declared", "edited by hand", "not loaded"]:
    if file.content != CONTENT:
        return "edited by hand"
    unit = facts.units.get(UNIT)
    return "not loaded" if unit is not None and unit.needs_reload else "as declared"


def _daemon(facts: HostFacts) -> Literal["running", "stopped", "not at boot", "missing"]:
    unit = facts.units.get(UNIT)
    if unit is None:
        return "missing"
    if unit.enabled != "enabled":
        return "not at boot"
    return "running" if unit.active == "active" else "stopped"
