"""NVIDIA's fabric manager, without which the cards of an NVSwitch machine run no CUDA (error 802)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from berth.catalogue.drivers import upstream
from berth.facts import HostFacts
from berth.provider.command import Command, shell
from berth.provider.errors import BadInput, CommandFailed
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import ABSENT, ANY, Manager, Name, apt, broken, dnf, held
from berth.provider.packaging.running import run
from berth.provider.unchangeable import refuse_unchangeable

UNIT = "nvidia-fabricmanager.service"
OF_THE_DRIVER = "the driver's"
RUNNING = "running, fabric completed"
NOT_AT_BOOT = "running, not at boot"
_START_S = 300.0

_ENABLE = """
systemctl enable --quiet -- "$1"
"""

# The cards register with the fabric for up to a minute after the service has started.
_START = """
systemctl enable --quiet -- "$1"
systemctl reset-failed -- "$1" 2> /dev/null || :
if ! systemctl restart -- "$1"; then
  journalctl --no-pager --output=cat --lines=12 --unit="$1" >&2 || :
  exit 1
fi
waited=0
while nvidia-smi -q 2> /dev/null | sed -n '/^ *Fabric$/,/^ *Status/p' | grep -q 'State.*: *In Progress'; do
  if [ "$waited" -ge 120 ]; then break; fi
  if [ $((waited % 10)) = 0 ]; then echo "berth: waiting for the cards to join the fabric, $waited of 120 s"; fi
  sleep 2
  waited=$((waited + 2))
done
"""


class FabricManagerWant(Want):
    """The fabric manager in exactly the driver's version; only for hosts whose facts say `nvswitch`.

    `packages` must have the driver's version, `companions` (nvlsm and the like on NVLink 5) have their own. `version`
    and `state` are there to be observed: the driver's own version or which other, and the service with the fabric.
    `on_disk` is not compared: a change of the driver on disk makes this looked at again.
    """

    manager: Manager
    packages: list[Name] = Field(min_length=1)
    companions: list[Name] = []
    hold: bool = True
    lock_wait_s: int = 600
    on_disk: str = ""
    version: str = OF_THE_DRIVER
    state: str = RUNNING
    broken: list[str] = []
    on_destroy: Literal["keep", "remove"] = "keep"

    def names(self) -> list[str]:
        """All its packages."""
        return [*self.packages, *self.companions]


class FabricManager(FactOperation[FabricManagerWant]):
    """Declares the fabric manager."""

    kind = "berth:host:FabricManager"
    wants = FabricManagerWant
    late = frozenset({"on_disk"})
    replace = frozenset({"host", "manager"})

    def identity(self, want: FabricManagerWant) -> str:
        """One for each host."""
        return f"{want.host}:fabric-manager"

    def seen(self, facts: HostFacts, want: FabricManagerWant) -> FabricManagerWant | None:
        """Packages against the driver's version, the service, and what the cards say of their fabric.

        In a container, where no service is its own, what the cards say is all.
        """
        if facts.guest:
            return None if facts.driver.fabric_state == "down" else want
        there = [name for name in want.names() if _is_whole(facts, name)]
        versions = {upstream(name, facts.packages[name].version) for name in want.packages if name in there}
        if not there:
            return None
        others = sorted(str(version) for version in versions if version != driver_version(facts))
        kept = set(held(facts, dict.fromkeys(want.packages, ANY)))
        expected = {name for name in want.packages if name in there} if want.hold else set()
        return want.model_copy(
            update={
                "packages": [name for name in want.packages if name in there],
                "companions": [name for name in want.companions if name in there],
                "version": others[0] if others else OF_THE_DRIVER,
                "hold": want.hold if kept == expected else not want.hold,
                "state": _state(facts),
                "broken": _in_the_way(facts, want, there, others),
            }
        )

    def steps(self, want: FabricManagerWant | None, have: FabricManagerWant | None) -> Sequence[Command]:
        """Installs it in the version of `want`, which `apply` has made the driver's, and starts it."""
        if want is None:
            return [] if have is None else _remove(have)
        if have is not None and not self.differing(want, have):
            return []
        repair = [apt.repair(have.broken, wait_s=want.lock_wait_s)] if have is not None and have.broken else []
        hold = want.packages if want.hold else []
        if have is not None and (have.names(), have.version) == (want.names(), want.version):
            holds = _install(want, {}, hold=hold, free=[] if hold else want.packages) if have.hold != want.hold else []
            return [*repair, *holds, *_service(want, have)]
        packages = dict.fromkeys(want.packages, f"{want.version}-*") | dict.fromkeys(want.companions, ANY)
        return [*repair, *_install(want, packages, hold=hold, free=want.packages), _start()]

    async def preflight(self, host: Host, want: FabricManagerWant) -> None:
        """Only a machine with an NVSwitch has a fabric; PCIe cards and bridges have none."""
        facts = await host.facts()
        if not facts.driver.nvswitch and not want.companions:  # the switch of NVLink 5 does not always show
            raise BadInput(
                f"{host.name}: fabric_manager: there is no NVSwitch, so that it would not start; leave it out"
            )
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        is_there = "not there" if have is None else f"{have.version} ({have.state})"
        refuse_unchangeable(
            facts,
            host.name,
            f"the fabric manager is {is_there}, must be of {OF_THE_DRIVER} version and running, else CUDA says error "
            "802, system not yet initialized",
        )

    async def warnings(self, host: Host, want: FabricManagerWant) -> Sequence[str]:
        """Whose work on the cards its restart ends."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is None or not facts.gpu_processes or not _restarts(want, have):
            return ()
        users = ", ".join(sorted({process.command or str(process.pid) for process in facts.gpu_processes}))
        there = have.state if have.version == want.version else f"of version {have.version}"
        said = f"{host.name}: the fabric manager is {there}, and is started anew"
        return [f"{said}, which ends what runs on the cards: {users}"]

    async def apply(self, host: Host, want: FabricManagerWant | None, have: FabricManagerWant | None) -> None:
        """In the version of the driver that is on disk now."""
        exact = None
        if want is not None:
            found = driver_version(await host.facts())
            if found is None:
                raise BadInput(
                    f"{host.name}: fabric_manager: there is no NVIDIA driver on disk, must be one whose version it can "
                    "have; declare prerequisites.driver for this host, or install the driver by hand"
                )
            exact = want.model_copy(update={"version": found})
            have = have if have is None or have.version != OF_THE_DRIVER else have.model_copy(update={"version": found})
        for command in self.steps(exact, have):
            try:
                await run(host, command)
            except CommandFailed as failed:
                hint = "until it runs, CUDA says error 802, system not yet initialized, though nvidia-smi looks well"
                output = f"{failed.output}\n{hint}"
                raise CommandFailed(host=host.name, doing=command.says, status=failed.status, output=output) from failed


def _restarts(want: FabricManagerWant, have: FabricManagerWant) -> bool:
    """Whether it must be started anew: being there at the next boot alone is no reason."""
    same = (have.names(), have.version) == (want.names(), want.version)
    return not same or have.state not in {want.state, NOT_AT_BOOT}


def _service(want: FabricManagerWant, have: FabricManagerWant) -> list[Command]:
    if _restarts(want, have):
        return [_start()]
    if have.state == want.state:
        return []
    return [shell(_ENABLE, UNIT, says="letting the fabric manager start at boot", root=True)]


def _start() -> Command:
    return shell(_START, UNIT, says="starting the fabric manager", root=True, timeout_s=_START_S)


def driver_version(facts: HostFacts) -> str | None:
    """The driver that the fabric manager must fit: the one on disk, with which the machine boots."""
    return facts.driver.installed or facts.driver.packages


def _is_whole(facts: HostFacts, name: str) -> bool:
    return name in facts.packages and facts.packages[name].state == "installed"


def _in_the_way(facts: HostFacts, want: FabricManagerWant, there: list[str], others: list[str]) -> list[str]:
    """Interrupted installations: its own, and any where something of it is to be installed."""
    found = broken(facts)
    return found if others or there != want.names() or set(found) & set(want.names()) else []


def _state(facts: HostFacts) -> str:
    unit, fabric = facts.units.get(UNIT), facts.driver.fabric
    if unit is None or unit.active != "active":
        return "failed" if unit is not None and unit.active == "failed" else "stopped"
    if facts.driver.fabric_state == "down":
        return f"running, fabric {fabric}"
    return RUNNING if unit.enabled == "enabled" else NOT_AT_BOOT


def _install(
    want: FabricManagerWant, packages: dict[str, str], *, hold: Sequence[str], free: Sequence[str]
) -> list[Command]:
    if want.manager == "apt":
        return apt.install(packages, free=free, hold=hold, older=want.packages, wait_s=want.lock_wait_s)
    return dnf.install(packages, free=free, hold=hold, older=want.packages)


def _remove(have: FabricManagerWant) -> list[Command]:
    if have.manager == "apt":
        return apt.install(dict.fromkeys(have.names(), ABSENT), free=have.packages, wait_s=have.lock_wait_s)
    return dnf.install(dict.fromkeys(have.names(), ABSENT), free=have.packages)
