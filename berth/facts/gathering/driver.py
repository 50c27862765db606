"""The NVIDIA driver: on disk for the running kernel, in the kernel, in user space; and what stands in its way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from packaging.version import InvalidVersion, Version

from berth.catalogue.drivers import native_cuda
from berth.facts.gathering import gpus as bus
from berth.facts.gathering.sections import Sections, lines, text
from berth.facts.model import DriverFact, PackageFact

# DKMS keeps a folder for each version, with one for each kernel and architecture that it was built for, and a link
# kernel-KERNEL-ARCHITECTURE to what is installed: dkms itself is a slow script that says the same.
SCRIPT = r"""
part module
if has modinfo; then modinfo -F version nvidia; fi
part license
if has modinfo; then modinfo -F license nvidia; fi
part loaded; cat /sys/module/nvidia/version
part loaded_as; head -n 1 /proc/driver/nvidia/version
part initramfs
for generator in update-initramfs dracut; do if has "$generator"; then echo "$generator"; break; fi; done
part next_kernel
next=
if has grubby; then next=$(within 5 grubby --default-kernel); fi
if [ -z "$next" ]; then
  next=$(for image in /boot/vmlinuz-*; do if [ -d "/lib/modules/${image##*/vmlinuz-}" ]; then echo "$image"; fi; done |
    sort -V | tail -n 1)
fi
next=${next##*/vmlinuz-}
if [ -n "$next" ]; then
  echo "$next"
  part next_module; if has modinfo; then modinfo -k "$next" -F version nvidia; fi
fi
part nouveau
for module in nouveau nova_core nova_drm; do if [ -d "/sys/module/$module" ]; then echo "$module"; fi; done
part dkms
for folder in /var/lib/dkms/nvidia*; do
  for built in "$folder"/*/*/*/module; do if [ -d "$built" ]; then echo "built ${built#"$folder"/}"; fi; done
  for link in "$folder"/kernel-*; do if [ -e "$link" ]; then echo "installed ${link##*/kernel-}"; fi; done
  for source in "$folder"/*/source; do if [ -e "$source" ]; then echo added; fi; done
done
part libcuda
for file in /usr/lib/*/libcuda.so.[0-9]*.[0-9]* /usr/lib64/libcuda.so.[0-9]*.[0-9]* /usr/lib/libcuda.so.[0-9]*.[0-9]*
do if [ -e "$file" ]; then echo "${file##*/libcuda.so.}"; fi; done
if [ -d /sys/bus/pci/drivers ] && [ ! -d /sys/module/nvidia ]; then
  for device in /sys/bus/pci/devices/*; do
    read -r vendor < "$device/vendor" || continue
    if [ "$vendor" = 0x10de ]; then
      part rejected
      if said=$(dmesg); then printf '%s\n' "$said" |
        grep -ciE '(unavailable key|unsigned module) is rejected|key was rejected'; else echo unread; fi
      break
    fi
  done
fi
"""

_USER_SPACE = re.compile(
    r"^(libnvidia-compute(-\d+)?(-server)?|nvidia-driver-cuda-libs|libcuda1|nvidia-utils(-\d+)?.*)$"
)
_VERSION = re.compile(r"\d+(\.\d+)+")


def initramfs(found: Sections) -> Literal["update-initramfs", "dracut"] | None:
    """What makes the initramfs there: Debian's own tools before dracut, of which a part may lie beside them."""
    known: dict[str, Literal["update-initramfs", "dracut"]] = {
        "update-initramfs": "update-initramfs",
        "dracut": "dracut",
    }
    return known.get(text(found, "initramfs"))


def read(
    found: Sections, unread: dict[str, str], *, gpus: str | None, packages: Mapping[str, PackageFact], root: bool
) -> DriverFact:
    """The driver's facts; `gpus` is the version that nvidia-smi says."""
    rejected = text(found, "rejected")
    if rejected == "unread":
        unread["driver.rejected"] = "the kernel's log is for root" if not root else "the kernel's log cannot be read"
    loaded = text(found, "loaded") or None
    return DriverFact(
        installed=text(found, "module").split("\n")[0] or None,
        loaded=loaded,
        flavour=_flavour(text(found, "license")),
        loaded_flavour=_loaded_flavour(text(found, "loaded_as")),
        next_kernel=text(found, "next_kernel") or None,
        next_module=text(found, "next_module").split("\n")[0] or None,
        packages=_user_space(found, packages) or gpus,
        dkms=_dkms(found),
        cuda=_cuda(loaded or gpus),
        nouveau=tuple(lines(found, "nouveau")),
        nvswitch=bus.nvswitch(found),
        fabric=bus.fabric(found),
        rejected=rejected not in {"", "0", "unread"},
    )


def _flavour(license_: str) -> Literal["open", "proprietary"] | None:
    if not license_:
        return None
    return "open" if "GPL" in license_ else "proprietary"


def _loaded_flavour(said: str) -> Literal["open", "proprietary"] | None:
    """`NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05`, or without `Open` and `for`."""
    if "Kernel Module" not in said:
        return None
    return "open" if "Open Kernel Module" in said else "proprietary"


def _user_space(found: Sections, packages: Mapping[str, PackageFact]) -> str | None:
    """The library that programs load, else its package: a pod has the library alone."""
    if libraries := lines(found, "libcuda"):
        return libraries[0]
    for name, package in packages.items():
        if package.state == "installed" and _USER_SPACE.match(name):
            match = _VERSION.search(package.version.rpartition(":")[2])
            return match[0] if match else None
    return None


def _dkms(found: Sections) -> dict[str, str]:
    """Each kernel's state; the key is empty for a version that was built for none."""
    states: dict[str, str] = {}
    for line in lines(found, "dkms"):
        state, _, what = line.partition(" ")
        if state == "built":
            states[what.split("/")[1]] = "built"
        elif state == "installed":
            states[what.rpartition("-")[0]] = "installed"
        elif not states:
            states[""] = "added"
    if len(states) > 1:
        states.pop("", None)
    return states


def _cuda(driver: str | None) -> str | None:
    """The newest CUDA release that the driver's branch runs by itself."""
    try:
        native = native_cuda(Version(driver)) if driver else None
    except InvalidVersion:
        return None
    return str(native) if native is not None else None
