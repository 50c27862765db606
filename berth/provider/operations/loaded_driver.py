"""The NVIDIA driver in the kernel: the one that is on disk, after a reboot where there is no other way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from berth.catalogue import drivers
from berth.facts import HostFacts
from berth.provider.command import Command, shell
from berth.provider.errors import CommandFailed, ProviderError, RebootNeeded
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.reboot import order, reboot
from berth.provider.secure_boot import enrolment
from berth.provider.unchangeable import refuse_unchangeable

NONE, NOUVEAU = "none", "nouveau"
_IN_USE = 8
_TRIED = frozenset({0, _IN_USE})
_UNSIGNED = ("Key was rejected", "Required key not available")

# modprobe says why on standard error, and the kernel adds what it has seen of the cards.
_LOAD = """
if modprobe nvidia && modprobe nvidia_uvm; then exit 0; fi
dmesg 2> /dev/null | grep -i -e nvrm -e nvidia -e lockdown | tail -n 5 >&2 || :
exit 1
"""

# With another version on disk than in the kernel nvidia-smi does not answer, so that processes on the cards are found
# by the devices that they have open. NVIDIA's own daemons let go when they are stopped, but stopping the fabric manager
# ends what runs on the cards. A module is in use by those that are built on it (`holders`) and by whoever has a device
# of it open: when it has more users than holders, unloading would fail half-way.
_RELOAD = r"""
using=
for pid in $(ls -l /proc/[0-9]*/fd 2> /dev/null |
  awk '/^\/proc\// { split($1, part, "/") } / -> \/dev\/nvidia/ { print part[3] }' | sort -u); do
  read -r name 2> /dev/null < "/proc/$pid/comm" || continue
  case $name in
    nvidia-persiste | nv-fabricmanage | nvidia-imex) ;;
    *) using="$using${using:+, }$name" ;;
  esac
done
if [ -n "$using" ]; then echo "$using" >&2; exit 8; fi
stopped=
for unit in nvidia-persistenced.service nvidia-fabricmanager.service nvidia-imex.service; do
  if systemctl --quiet is-active "$unit" 2> /dev/null; then systemctl stop "$unit"; stopped="$stopped $unit"; fi
done
back() { for unit in $stopped; do systemctl start "$unit" || :; done; }
trap back EXIT
loaded=
for module in nvidia_uvm nvidia_drm nvidia_peermem nvidia_modeset nvidia; do
  if [ ! -d "/sys/module/$module" ]; then continue; fi
  loaded="$module $loaded"
  users=$(cat "/sys/module/$module/refcnt")
  for holder in "/sys/module/$module/holders"/*; do
    if [ -e "$holder" ]; then users=$((users - 1)); fi
  done
  if [ "$users" -gt 0 ]; then echo "something that has $module open" >&2; exit 8; fi
done
for module in nvidia_uvm nvidia_drm nvidia_peermem nvidia_modeset nvidia; do
  if [ ! -d "/sys/module/$module" ]; then continue; fi
  if ! modprobe -r "$module"; then
    for again in $loaded; do modprobe "$again" || :; done
    exit 8
  fi
done
modprobe nvidia
for module in $loaded; do modprobe "$module" || :; done
"""


class LoadedDriverWant(Want):
    """The driver that the kernel runs.

    `loaded` is what the stack says of the driver: its branch such as `580`, or its exact version. What is observed in
    the same words is the loaded version, `none` or `nouveau`; the branch or version as declared where the loaded one is
    of it and is the one on disk. `reboot` says whether the machine may be rebooted for it, `reboot_timeout_s` how long
    it is waited for, in seconds. `flavour` is that of its modules; where it is empty, or the kernel does not say, it is
    not compared. `on_disk` is not compared either: a change of the driver on disk makes this looked at again.
    """

    loaded: str = Field(pattern=r"^([0-9]+(\.[0-9]+)*|none|nouveau)$")
    flavour: Literal["open", "proprietary", ""] = ""
    on_disk: str = ""
    reboot: Literal["allowed", "never"] = "never"
    reboot_timeout_s: int = Field(default=900, ge=10)
    on_destroy: Literal["keep"] = "keep"


class LoadedDriver(FactOperation[LoadedDriverWant]):
    """Declares the driver in the kernel."""

    kind = "berth:host:LoadedDriver"
    wants = LoadedDriverWant
    late = frozenset({"on_disk"})

    def identity(self, want: LoadedDriverWant) -> str:
        """One for each host."""
        return f"{want.host}:loaded-driver"

    def seen(self, facts: HostFacts, want: LoadedDriverWant) -> LoadedDriverWant:
        """The version in the kernel, as declared where it is the one on disk and of the declared branch."""
        driver = facts.driver
        if driver.loaded is None:
            return want.model_copy(update={"loaded": NOUVEAU if driver.nouveau else NONE})
        same = driver.installed in (None, driver.loaded) and drivers.is_of(driver.loaded, want.loaded)
        flavour = driver.loaded_flavour if want.flavour and driver.loaded_flavour else want.flavour
        return want.model_copy(update={"flavour": flavour, **({} if same else {"loaded": driver.loaded})})

    def steps(self, want: LoadedDriverWant | None, have: LoadedDriverWant | None) -> Sequence[Command]:
        """Loads it, or exchanges it for another where nothing uses that; nouveau goes only with a reboot."""
        if want is None or have is None or _fits(have, want):
            return []
        if have.loaded == NONE:
            return [shell(_LOAD, says="loading the NVIDIA driver", root=True)]
        if have.loaded == NOUVEAU:
            return [order()] if want.reboot == "allowed" else []
        says = f"exchanging the loaded driver {have.loaded}"
        return [shell(_RELOAD, says=says, root=True, ok=_TRIED, timeout_s=180)]

    async def preflight(self, host: Host, want: LoadedDriverWant) -> None:
        """In a container the driver is that of the machine around it."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if self.differing(want, have):
            there, must = f"{have.loaded} {have.flavour}".strip(), f"{want.loaded} {want.flavour}".strip()
            problem = f"the loaded NVIDIA driver is {there}, must be {must}"
            refuse_unchangeable(facts, host.name, problem, systemd=False)

    async def warnings(self, host: Host, want: LoadedDriverWant) -> Sequence[str]:
        """Whether a reboot is or may be needed, and whether it will be done."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have.loaded == NONE or _fits(have, want):
            return []
        without = _no_module_next(facts, want)
        sure = have.loaded == NOUVEAU or facts.gpu_processes
        needed = "reboot needed" if sure else "reboot needed unless nothing uses the cards then"
        if want.reboot == "allowed":
            will = f"it will not be rebooted: {without}" if without else "the machine will be rebooted"
            said = "" if without else ", reboot: allowed says so"
            return [f"{host.name}: {needed}: {_why(facts, want)}; {will}{said}"]
        return [f"{host.name}: {needed}: {_why(facts, want)}; reboot the machine, or say reboot: allowed"]

    async def apply(self, host: Host, want: LoadedDriverWant | None, have: LoadedDriverWant | None) -> None:
        """Tries the way without a reboot where there is one."""
        if want is None or have is None:
            return
        facts = await host.facts()
        if facts.driver.installed is None or not drivers.is_of(facts.driver.installed, want.loaded):
            disk = facts.driver.installed or "no NVIDIA driver"
            raise ProviderError(
                f"{host.name}: {disk} is on disk for kernel {facts.kernel}, must be {want.loaded}, before it can be "
                "loaded; install it first (prerequisites.driver)"
            )
        in_use = await self._without_reboot(host, want, have, facts)
        if in_use is None:
            return
        why = _why(facts, want, in_use)
        if want.reboot != "allowed":
            raise RebootNeeded(f"{host.name}: reboot needed: {why}; reboot the machine, or say reboot: allowed")
        if without := _no_module_next(facts, want):
            raise ProviderError(f"{host.name}: not rebooted ({why}): {without}")
        await reboot(host, why=why, limit_s=want.reboot_timeout_s)
        host.gathered.forget()
        after = (await host.facts()).driver
        if after.loaded is None and after.rejected:
            raise ProviderError(enrolment(facts, host.name))

    async def _without_reboot(
        self, host: Host, want: LoadedDriverWant, have: LoadedDriverWant, facts: HostFacts
    ) -> str | None:
        """None where it was loaded; else who uses the old one, as far as the machine says."""
        if have.loaded == NOUVEAU or (have.loaded != NONE and facts.gpu_processes):
            return ""
        try:
            results = [await host.run(command) for command in self.steps(want, have)]
        except CommandFailed as error:
            if any(sign in error.output for sign in _UNSIGNED):
                raise ProviderError(enrolment(facts, host.name)) from error
            if "No such device" in error.output:
                raise ProviderError(_no_card(facts, host.name, error.output)) from error
            return ""
        used = [result.stderr.strip() for result in results if result.status == _IN_USE]
        return used[0].rpartition("\n")[2] if used else None


def _fits(have: LoadedDriverWant, want: LoadedDriverWant) -> bool:
    return (have.loaded, have.flavour) == (want.loaded, want.flavour)


def _no_module_next(facts: HostFacts, want: LoadedDriverWant) -> str | None:
    """Why a reboot would end without a driver: the kernel that boots next is another, and has no module of it."""
    driver = facts.driver
    if driver.next_kernel in {None, facts.kernel}:
        return None
    if driver.next_module is not None and drivers.is_of(driver.next_module, want.loaded):
        return None
    headers = "kernel-devel" if facts.package_manager == "dnf" else "linux-headers"
    there = driver.next_module or "not there"
    return (
        f"it boots kernel {driver.next_kernel} next, whose NVIDIA module is {there}, must be {want.loaded}; install "
        f"{headers}-{driver.next_kernel} there, run `dkms autoinstall -k {driver.next_kernel}`, then run the same again"
    )


def _why(facts: HostFacts, want: LoadedDriverWant, in_use: str = "") -> str:
    """What is on disk, what is loaded, and by whom it is used."""
    driver = facts.driver
    known = driver.installed is not None and drivers.is_of(driver.installed, want.loaded)
    disk = f"driver {driver.installed} on disk" if known else f"driver {want.loaded} wanted"
    loaded = driver.loaded or (", ".join(driver.nouveau) or NONE)
    if driver.loaded and want.flavour and driver.loaded_flavour not in {None, want.flavour}:
        disk, loaded = f"{disk} with {want.flavour} modules", f"{loaded} with {driver.loaded_flavour} ones"
    users = ", ".join(sorted({process.command or str(process.pid) for process in facts.gpu_processes})) or in_use
    return f"{disk}, {loaded} loaded" + (f" and used by {users}" if users else "")


def _no_card(facts: HostFacts, host: str, said: str) -> str:
    cards = [f"{card.address} (10de:{card.device}, driver {card.driver or 'none'})" for card in facts.pci_gpus]
    return (
        f"{host}: the NVIDIA driver {facts.driver.installed} finds no card that it drives, must find "
        f"{', '.join(cards) or 'one on the PCI bus'}; check that this branch and flavour ({facts.driver.flavour}) know "
        f"the card, and that no other driver (vfio-pci) holds it. The machine said:\n{said}"
    )
