"""The Docker engine as a service: it is enabled, runs, answers, and is new enough.

Its packages are a `Packages` resource, which comes first; what the login may do there is a `User` resource. A working
engine from another source (docker.io of Debian and Ubuntu) is verified like any other and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from berth.catalogue.docker import OLDEST_DOCKER, at_least
from berth.facts import HostFacts
from berth.provider.command import Command, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.unchangeable import refuse_unchangeable

START = """
systemctl enable --quiet "$1"
systemctl reset-failed "$1" 2> /dev/null || :
if systemctl "$2" "$1"; then exit 0; fi
journalctl --unit "$1" --lines 20 --no-pager --output cat >&2
exit 1
"""
"""Starts or restarts (`$2`) a service. Resetting empties systemd's count of starts: Docker has three a minute."""

_TOO_OLD = """
echo "Docker $1 is installed, must be $2 or newer; set the version of prerequisites.docker, or upgrade its packages" >&2
exit 1
"""

_STOP = """
systemctl disable --quiet --now "${1%.service}.socket" 2> /dev/null || :
systemctl disable --quiet --now "$1"
"""
"""With the socket, which would start it again."""

START_S = 300.0
_ON = {"enabled", "static", "indirect", "alias", "generated"}
"""Words of `systemctl is-enabled` under which a unit comes back after a boot, or is not for us to enable.

What was enabled with `--runtime` is gone after a boot, and a linked unit is known to systemd and started by nothing.
"""


class DockerEngineWant(Want):
    """A running engine of at least version `minimum` (such as `26.1`), whose daemon is the systemd service `unit`.

    `enabled`, `active`, `answers`, `masked` and `snap` are there to be observed, and `installed`, the program on disk:
    a daemon that is older than it needs a restart, not a package.
    """

    unit: str = "docker.service"
    minimum: str = OLDEST_DOCKER
    installed: Literal["new enough", "too old"] = "new enough"
    enabled: bool = True
    active: bool = True
    answers: bool = True
    masked: bool = False
    snap: bool = False
    on_destroy: Literal["keep", "remove"] = "keep"


class DockerEngine(FactOperation[DockerEngineWant]):
    """Declares that Docker runs."""

    kind = "berth:host:DockerEngine"
    wants = DockerEngineWant
    replace = frozenset({"host", "unit"})

    def identity(self, want: DockerEngineWant) -> str:
        """Its service on its host."""
        return f"{want.host}:{want.unit}"

    def seen(self, facts: HostFacts, want: DockerEngineWant) -> DockerEngineWant | None:
        """What runs and what is on disk; None where it neither runs nor would after a boot."""
        docker, unit = facts.docker, facts.units.get(want.unit)
        kept = docker.version is not None and not facts.systemd  # by whoever keeps things running there
        active = kept or (unit is not None and unit.active in {"active", "reloading"})
        enabled = kept or (unit is not None and unit.enabled in _ON)
        if not active and not enabled:
            return None
        old = docker.version is not None and not at_least(docker.version, want.minimum)
        on_disk = docker.client or docker.version
        return want.model_copy(
            update={
                "minimum": docker.version if old else want.minimum,
                "installed": "new enough" if on_disk is None or at_least(on_disk, want.minimum) else "too old",
                "enabled": enabled,
                "active": active,
                "answers": not active or docker.version is not None or "docker" in facts.unread,
                "masked": _masked(facts, want.unit),
                "snap": docker.snap,
            }
        )

    def steps(self, want: DockerEngineWant | None, have: DockerEngineWant | None) -> Sequence[Command]:
        """Starts what does not run, and restarts what is older than its program."""
        if want is None:
            return (
                [] if have is None else [shell(_STOP, have.unit, says="stopping Docker", root=True, timeout_s=START_S)]
            )
        if have is None or not have.active:
            return [shell(START, want.unit, "start", says="starting Docker", root=True, timeout_s=START_S)]
        if have.installed == "too old":
            return [shell(_TOO_OLD, have.minimum, want.minimum, says="looking at Docker's version")]
        if have.minimum != want.minimum:
            return [shell(START, want.unit, "restart", says="restarting Docker", root=True, timeout_s=START_S)]
        if not have.enabled:
            return [shell(START, want.unit, "start", says="enabling Docker", root=True, timeout_s=START_S)]
        return []

    async def preflight(self, host: Host, want: DockerEngineWant) -> None:
        """What a person must decide: a snap, a masked service, a daemon that hangs, a machine without systemd."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        refuse(facts, host.name, want.unit)
        if have is not None and not have.answers:
            raise BadInput(
                f"{host.name}: Docker: {want.unit} runs and does not answer, must answer; "
                f"look at `journalctl -u {want.unit}`, then `systemctl restart {want.unit}`"
            )


def _masked(facts: HostFacts, unit: str) -> bool:
    found = facts.units.get(unit)
    return found is not None and found.enabled.startswith("masked")


def refuse(facts: HostFacts, host: str, unit: str) -> None:
    """Raises where Berth cannot change Docker on a machine.

    Raises:
        BadInput: naming why, and what to do instead.
    """
    if facts.docker.snap:
        raise BadInput(
            f"{host}: Docker: is a snap, which ignores /etc/docker/daemon.json, must be a package; "
            "`snap remove docker` (its images and volumes go with it), then run this again"
        )
    if _masked(facts, unit):
        raise BadInput(
            f"{host}: Docker: {unit} is masked, must not be; `systemctl unmask {unit}`, or leave docker out of "
            "prerequisites"
        )
    is_now = "is as it is" if facts.docker.version is not None else "does not run"
    refuse_unchangeable(facts, host, f"Docker: {is_now}, must be as declared")
