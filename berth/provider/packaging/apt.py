"""The commands for apt: download, then install in one run that survives its caller, with a look at the plan before.

apt's own safeguards stay on: it is told to go back to older versions only after its plan was read, and holds are taken
off the packages that are meant alone, never overridden for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from berth.provider.command import Command, leashed, shell
from berth.provider.packaging import ABSENT, ANY, doing, is_exact
from berth.provider.packaging.surviving import surviving

DOWNLOAD_S = 3600.0
INSTALL_S = 3600.0

# needrestart would restart services, Docker among them, behind the stack's back.
_SETTINGS = """
set -f
export LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none UCF_FORCE_CONFFOLD=1
apt() {
  apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 -o DPkg::Lock::Timeout=60 \\
    -o DPkg::Options::=--force-confdef -o DPkg::Options::=--force-confold "$@"
}
"""

# The locks are POSIX ones, which /proc/locks lists by inode; the descriptor tells files of one inode apart.
WAIT = """
holder() {
  for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
    inode=$(stat -c %i -- "$file" 2> /dev/null) || continue
    while read -r _ kind _ _ pid where _; do
      if [ "$kind ${where##*:}" = "POSIX $inode" ] &&
        ls -l "/proc/$pid/fd" 2> /dev/null | grep -q -F -- "-> $file"; then return 0; fi
    done < /proc/locks
  done
  return 1
}
waited=0
while holder; do
  what="$({ tr '\\000\\n' '  ' < "/proc/$pid/cmdline"; } 2> /dev/null | cut -c 1-60) (process $pid)"
  if [ "$waited" -ge "$wait_s" ]; then
    echo "$what has held $file for $waited s; wait until it is done, or end it, and run this again" >&2
    exit 1
  fi
  if [ $((waited % 5)) = 0 ]; then echo "berth: waiting for $what to let go of $file, $waited of $wait_s s"; fi
  sleep 1
  waited=$((waited + 1))
done
"""
"""Waits up to `$wait_s` seconds until no other package manager is at work."""

# What apt has written as its plan, and what of it nobody has asked for.
_PLAN = """
plan=$(mktemp)
trap 'rm -f -- "$plan"' EXIT
trap 'exit 1' HUP INT TERM
listed() { sed -n "/^The following $1:/,/^[^ ]/{/^ /p;}" "$plan" | tr -d '*'; }
beside() {
  for one in $1; do case " $2 " in *" $one "*) ;; *) printf ' %s' "$one" ;; esac; done
}
"""

# What apt thinks of as a repair may be the removal of what is half there, and of all that needs it.
_REPAIR = (
    _SETTINGS
    + "wait_s=$1\n"
    + WAIT
    + _PLAN
    + """
dpkg --configure -a --force-confdef --force-confold
if ! apt -f install --simulate > "$plan" 2>&1; then
  cat -- "$plan" >&2
  exit 1
fi
going=$(beside "$(listed 'packages will be REMOVED')" '')
older=$(beside "$(listed 'packages will be DOWNGRADED')" '')
if [ -n "$going$older" ]; then
  echo "refused, since finishing would remove or take back:$going$older; look at 'apt-get -f install' on the host" >&2
  exit 1
fi
apt -f install
"""
)

# apt shows its plan before it downloads, so that one run of it is both.
# $1 how long to wait, $2 what may go, $3 what may become older, $4 whose holds are ours, then what is asked of apt.
_DOWNLOAD = (
    _SETTINGS
    + "wait_s=$1 may_go=$2 may_be_older=$3 ours=$4\nshift 4\n"
    + WAIT
    + _PLAN
    + """
fetch() {
  { apt install --download-only --allow-downgrades --allow-change-held-packages "$@" 2>&1 || echo "berth: failed"; } |
    tee -- "$plan"
  ! grep -q '^berth: failed$' "$plan"
}
if [ -n "$(ls /var/lib/dpkg/updates)" ]; then
  echo "berth: finishing what dpkg was interrupted in"
  dpkg --configure -a --force-confdef --force-confold
fi
if ! fetch "$@"; then
  echo "berth: asking the repositories anew"
  apt update
  fetch "$@"
fi
going=$(beside "$(listed 'packages will be REMOVED')" "$may_go")
older=$(beside "$(listed 'packages will be DOWNGRADED')" "$may_be_older")
theirs=$(beside "$(listed 'held packages will be changed')" "$ours")
if [ -n "$going" ]; then
  echo "refused, since apt would remove:$going; if they may go, declare each of them absent" >&2
fi
if [ -n "$older" ]; then
  echo "refused, since these would become older:$older; declare one exact version of each, or keep what is there" >&2
fi
if [ -n "$theirs" ]; then
  echo "refused, since these are held by somebody else:$theirs; run 'apt-mark unhold' for them, or declare them" >&2
fi
if [ -n "$going$older$theirs" ]; then exit 1; fi
"""
)

# $1 how long to wait, $2 what may become older, $3 what is held now and must not be for this, $4 what is held then, and
# what is asked of apt.
_INSTALL = (
    _SETTINGS
    + "wait_s=$1 may_be_older=$2 free=$3 hold=$4\nshift 4\n"
    + WAIT
    + """
if [ -n "$free" ]; then apt-mark unhold $free; fi
if [ $# -gt 0 ]; then apt install ${may_be_older:+--allow-downgrades} "$@"; fi
if [ -n "$hold" ]; then apt-mark hold $hold; fi
"""
)


def repair(names: Sequence[str], *, wait_s: int) -> Command:
    """Finishes what was interrupted."""
    says = f"finishing interrupted installations (dpkg --configure -a): {', '.join(names)}"
    return surviving(shell(_REPAIR, str(wait_s), says=says, timeout_s=INSTALL_S, root=True))


def install(
    packages: Mapping[str, str],
    *,
    free: Sequence[str] = (),
    hold: Sequence[str] = (),
    older: Sequence[str] = (),
    wait_s: int,
) -> list[Command]:
    """Brings packages to what is asked of them, in one run; those to be absent go in the same.

    `free` are held by us and may change; `hold` are held afterwards; `older` may become older, beside those of which
    one exact version is asked.
    """
    asked = [_asked(name, version) for name, version in packages.items()]
    going = [name for name, version in packages.items() if version == ABSENT]
    exact = [name for name, version in packages.items() if is_exact(version)]
    may_be_older = " ".join(dict.fromkeys([*exact, *older]))
    coming = [name for name in packages if name not in going]
    what = doing(installing=coming, removing=going)
    download = shell(
        _DOWNLOAD,
        *(str(wait_s), " ".join(going), may_be_older, " ".join(free), *asked),
        says=doing(downloading=coming) or what,
        timeout_s=DOWNLOAD_S,
        root=True,
    )
    run = shell(
        _INSTALL,
        *(str(wait_s), may_be_older, " ".join(free), " ".join(hold), *asked),
        says=what or doing(holding=hold, releasing=free),
        timeout_s=INSTALL_S,
        root=True,
    )
    return [*([leashed(download)] if asked else []), surviving(run)]


def _asked(name: str, version: str) -> str:
    if version == ABSENT:
        return f"{name}-"
    return name if version == ANY else f"{name}={version}"
