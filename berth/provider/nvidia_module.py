"""The commands for the NVIDIA module on disk: built for a kernel, and the drivers in its way off."""

from __future__ import annotations

from berth.provider.command import Command, leashed, put, shell

BLACKLIST = "/etc/modprobe.d/berth-nvidia.conf"
_OFF = """# Written by Berth: the cards belong to the NVIDIA driver.
blacklist nouveau
blacklist nova_core
blacklist nova_drm
options nouveau modeset=0
"""
SEALED = f"{_OFF}# The initramfs was made anew with this; this line was written after it.\n"
"""An update that is killed before the initramfs is made leaves a file without the last line, so that it is seen."""

_BUILD_S = 3600.0

# DKMS builds while packages are installed, and they install without an error when it did not. What it has built once it
# calls installed, even when somebody removed the file: only --force puts that back.
_BUILD = r"""
kernel=$1 wanted=$2 dkms=$3
installed() { [ "$dkms" = no ] || dkms status -k "$kernel" | grep '^nvidia' | grep -q ': installed'; }
fits() {
  depmod "$kernel" > /dev/null 2>&1 || :
  found=$(modinfo -k "$kernel" -F version nvidia 2> /dev/null || :)
  case $found in "$wanted" | "$wanted".*) installed ;; *) false ;; esac
}
if ! installed; then dkms autoinstall -k "$kernel" || :; fi
if fits; then exit 0; fi
if [ "$dkms" = yes ]; then
  dkms status | sed -n 's/^\(nvidia[a-z-]*\)[/,] *\([0-9.]*\).*/\1 \2/p' | sort -u | while read -r module version; do
    case $version in "$wanted" | "$wanted".*)
      dkms install --force -m "$module" -v "$version" -k "$kernel" < /dev/null || : ;;
    esac
  done
  if fits; then exit 0; fi
fi
exec >&2
echo "the module for the running kernel $kernel is ${found:-not there}, must be $wanted"
if [ "$dkms" = no ]; then
  echo "install the modules of that kernel (linux-modules-nvidia-*), or boot the kernel that has them"
  exit 3
fi
echo "dkms status says: $(dkms status -k "$kernel" | grep '^nvidia' || echo nothing)"
if [ ! -e "/lib/modules/$kernel/build" ]; then
  echo "the headers of $kernel are not there; install them, or the newest kernel with its headers and boot it"
fi
log=$(ls -t /var/lib/dkms/nvidia*/*/build/make.log /var/lib/dkms/nvidia*/*/"$kernel"/*/log/make.log 2> /dev/null |
  head -n 1)
if [ -n "$log" ]; then echo "the last lines of $log:"; tail -n 12 "$log"; fi
exit 3
"""

_INITRAMFS = """
if [ "$1" = dracut ]; then exec dracut --force --regenerate-all; fi
exec update-initramfs -u -k all
"""


def build(kernel: str, wanted: str, *, dkms: bool) -> Command:
    """Makes sure that the module for a kernel is there; `wanted` is a branch or a version, `dkms` who builds it there.

    It fails, saying what DKMS said, where the module is not there in the end.
    """
    says = f"looking at the NVIDIA module for {kernel}, and building it where it is not there"
    arguments = (kernel, wanted, "yes" if dkms else "no")
    return leashed(shell(_BUILD, *arguments, says=says, root=True, timeout_s=_BUILD_S))


def blacklist(initramfs: str) -> list[Command]:
    """Keeps nouveau and its successors off the cards, also at the next boot."""
    noting = put(BLACKLIST, SEALED, says=f"noting in {BLACKLIST} that the initramfs has it", root=True)
    return [put(BLACKLIST, _OFF, root=True), _initramfs(initramfs), noting]


def unblacklist(initramfs: str) -> list[Command]:
    """Takes that back."""
    return [
        shell('rm -f -- "$1"', BLACKLIST, says=f"removing {BLACKLIST}", root=True),
        _initramfs(initramfs),
    ]


def _initramfs(tool: str) -> Command:
    return leashed(shell(_INITRAMFS, tool, says="making the initramfs anew", root=True, timeout_s=_BUILD_S))
