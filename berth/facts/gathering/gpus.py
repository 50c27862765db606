"""GPUs on the bus and as their driver reports them, with the processes that use them."""

from __future__ import annotations

import re
from typing import Any, Literal

from berth.facts.gathering.sections import Sections, lines
from berth.facts.model import GpuFact, GpuProcess, PciGpu

QUERY = (
    "index,uuid,name,memory.total,memory.used,compute_cap,persistence_mode,power.limit,power.default_limit,"
    "power.min_limit,power.max_limit,ecc.mode.current,mig.mode.current,driver_version"
)
"""What nvidia-smi is asked for; its banner is for people and changes."""

# A driver that hangs is given up before the whole gathering would be. In a container the driver tells of no process, so
# those that have a card open are listed, without what they use.
SCRIPT = (
    r"""
part pci
for device in /sys/bus/pci/devices/*; do
  read -r vendor < "$device/vendor" || continue
  if [ "$vendor" != 0x10de ]; then continue; fi
  read -r class < "$device/class"; read -r id < "$device/device"
  driver=$(readlink "$device/driver")
  echo "${device##*/} $class $id ${driver##*/}"
done
# A switch of the first generations has a driver of its own; one of NVLink 5 shows on InfiniBand's bus, driver or not.
switch=
if [ -n "$(ls /proc/driver/nvidia-nvswitch/devices)" ] || grep -q SW_MNG /sys/class/infiniband/*/device/vpd; then
  switch=yes
  part nvswitch; echo yes
fi
if ! has nvidia-smi; then return; fi
part gpus; within 20 nvidia-smi --query-gpu="""
    + QUERY
    + r""" --format=csv,noheader,nounits 2>&1
status=$?; echo "status $status"
if [ "$status" != 0 ]; then return; fi
part gpu_processes
{ used=$(within 10 nvidia-smi --query-compute-apps=gpu_uuid,pid,used_memory --format=csv,noheader,nounits)
  case $used in
    GPU-*) printf '%s\n' "$used" ;;
    *) if [ ! -d /run/systemd/system ]; then
         ls -l /proc/[0-9]*/fd | sed -n -e '/^\/proc\/[0-9]*\/fd:$/{s|^/proc/||;s|/fd:$||;h;}' \
           -e '/ -> \/dev\/nvidia[0-9]/{g;s/.*/-, &, 0/;p;}' | sort -u
       fi ;;
  esac
} | while IFS=', ' read -r uuid pid memory; do
  case $pid in '' | *[!0-9]*) continue ;; esac
  read -r comm < "/proc/$pid/comm" || comm=
  cgroup=
  while IFS= read -r line; do case $line in 0::* | *:name=systemd:* | *:devices:*) cgroup=${line#*:*:} ;; esac; done \
    < "/proc/$pid/cgroup"
  # A container's group has its id alone; whose it is, its label and its name say.
  container=$(printf %s "$cgroup" | grep -oE '[0-9a-f]{64}' | head -n 1)
  if [ -n "$container" ] && has docker; then
    cgroup=$cgroup/$(within 5 docker container inspect \
      --format '{{index .Config.Labels "dev.berth.service"}}{{.Name}}' "$container")
  fi
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$uuid" "$pid" "$memory" "$comm" "$cgroup" "$(readlink "/proc/$pid/fd/1")"
done
if [ -n "$switch" ]; then part fabric; within 10 nvidia-smi -q | sed -n '/^ *Fabric$/,/^ *Status/p'; fi
"""
)

_DISPLAY = "0x03"
_NO_NUMBER = re.compile(r"\[?(N/A|Not Supported|Unknown Error|Insufficient Permissions)\]?|ERR!", re.IGNORECASE)


def read(found: Sections, unread: dict[str, str]) -> dict[str, Any]:
    """The fields of this theme, and `driver_of_gpus`: the driver's version as nvidia-smi says it."""
    gpus, version = _gpus(found, unread)
    return {
        "pci_gpus": tuple(
            PciGpu(address=address, device=device.removeprefix("0x"), driver=rest[0] if rest else None)
            for address, kind, device, *rest in (line.split() for line in lines(found, "pci"))
            if kind.startswith(_DISPLAY)
        ),
        "gpus": gpus,
        "gpu_processes": tuple(_processes(found)),
        "driver_of_gpus": version,
    }


def _gpus(found: Sections, unread: dict[str, str]) -> tuple[tuple[GpuFact, ...], str | None]:
    *rows, status = [*lines(found, "gpus")] or ["status 127"]
    if "gpus" not in found:
        return (), None
    if status != "status 0":
        unread["gpus"] = "nvidia-smi: " + (" ".join(rows).strip() or f"ended with {status}")
        return (), None
    split = [[word.strip() for word in row.split(", ")] for row in rows]
    whole = [words for words in split if len(words) == QUERY.count(",") + 1]
    return tuple(map(_gpu, whole)), (whole[0][-1] if whole else None)


def _gpu(words: list[str]) -> GpuFact:
    index, uuid, name, total, used, capability, persistence, limit, default, least, most, ecc, mig, _ = words
    major, _, minor = capability.partition(".")
    return GpuFact(
        index=int(index),
        uuid=uuid,
        name=name,
        memory=_mib(total),
        used=_mib(used),
        compute_capability=(int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0),
        persistence=_on(persistence),
        power_limit=_number(limit),
        power_default=_number(default),
        power_min=_number(least),
        power_max=_number(most),
        ecc=_on(ecc),
        mig=_on(mig),
    )


def _number(word: str) -> float | None:
    if not word or _NO_NUMBER.search(word):
        return None
    try:
        return float(word)
    except ValueError:
        return None


def _mib(word: str) -> int:
    return int(_number(word) or 0) * 2**20


def _on(word: str) -> bool | None:
    known: dict[str, Literal[True, False]] = {"Enabled": True, "Disabled": False}
    return known.get(word)


def _processes(found: Sections) -> list[GpuProcess]:
    split = [line.split("\t") for line in lines(found, "gpu_processes")]
    return [
        GpuProcess(
            uuid=uuid.strip("-"), pid=int(pid), memory=_mib(memory), command=command, cgroup=cgroup, output=output
        )
        for uuid, pid, memory, command, cgroup, output in (row for row in split if len(row) == 6)
    ]


def fabric(found: Sections) -> str | None:
    """The state of the NVSwitch fabric, with its status where that is no success; None without a switch."""
    if "fabric" not in found:
        return None
    said = [line.split(":", 1) for line in lines(found, "fabric") if ":" in line]
    states = {value.strip() for key, value in said if key.strip() == "State"}
    statuses = {value.strip() for key, value in said if key.strip() == "Status"}
    worst = next((state for state in sorted(states) if state != "Completed"), "Completed" if states else "unknown")
    failed = next((status for status in sorted(statuses) if status not in {"Success", "N/A"}), None)
    return worst.lower() if failed is None else f"{worst.lower()}: {failed}"


def nvswitch(found: Sections) -> bool:
    """Whether there is a switch, which also the bus shows without any driver."""
    if {"fabric", "nvswitch"} & found.keys():
        return True
    return any(line.split()[1].startswith("0x0680") for line in lines(found, "pci"))
