"""The commands for dnf 4: download, remove what must go, then install in one run that survives its caller.

dnf waits for another dnf by itself and says for which process. Unlike apt it goes back to an older version without a
question, so that its plan is read before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from berth.provider.command import Command, leashed, shell
from berth.provider.packaging import ABSENT, ANY, doing, is_exact
from berth.provider.packaging.surviving import surviving

DOWNLOAD_S = 3600.0
INSTALL_S = 3600.0

_SETTINGS = r"""
set -f
export LC_ALL=C
yes() { dnf -y --setopt=install_weak_deps=False --setopt=clean_requirements_on_remove=False "$@"; }
unlock() { if [ -n "$1" ]; then dnf -q versionlock delete $1 > /dev/null 2>&1 || :; fi; }
lock() {
  if ! rpm -q --quiet --whatprovides 'dnf-command(versionlock)'; then yes install 'dnf-command(versionlock)'; fi
  dnf -q versionlock add "$@"
}
"""

# dnf shows its plan before it downloads, so that one run of it is both.
# $1 what may go, $2 what may become older, $3 whose locks are ours, then what is asked of dnf.
_DOWNLOAD = (
    _SETTINGS
    + r"""
may_go=$1 may_be_older=$2 ours=$3
shift 3
plan=$(mktemp)
trap 'rm -f -- "$plan"' EXIT
trap 'exit 1' HUP INT TERM
listed() { sed -n "/^$1:/,/^[^ ]/{s/^ \([^ ][^ ]*\).*/\1/p;}" "$plan"; }
beside() {
  for one in $1; do case " $2 " in *" $one "*) ;; *) printf ' %s' "$one" ;; esac; done
}
going=
if [ -n "$may_go" ]; then
  dnf --assumeno --setopt=clean_requirements_on_remove=False remove $may_go > "$plan" 2>&1 || :
  going=$(beside "$(listed Removing; listed 'Removing dependent packages')" "$may_go")
fi
if [ $# -gt 0 ]; then
  if [ -n "$ours" ]; then set -- "$@" --disableplugin=versionlock; fi
  { yes install --allowerasing --downloadonly "$@" 2>&1 || echo "berth: failed"; } | tee -- "$plan"
  if grep -q '^berth: failed$' "$plan"; then exit 1; fi
  going="$going$(beside "$(listed Removing; listed 'Removing dependent packages')" "$may_go")"
fi
older=$(beside "$(listed Downgrading)" "$may_be_older")
if [ -n "$going" ]; then
  echo "refused, since dnf would remove:$going; if they may go, declare each of them absent" >&2
fi
if [ -n "$older" ]; then
  echo "refused, since these would become older:$older; declare one exact version of each, or keep what is there" >&2
fi
if [ -n "$going$older" ]; then exit 1; fi
"""
)

# $1 what goes, $2 what is locked now and must not be for this, $3 what is locked then, and what is asked of dnf.
_INSTALL = (
    _SETTINGS
    + r"""
going=$1 free=$2 hold=$3
shift 3
unlock "$free"
if [ -n "$going" ]; then yes remove $going; fi
if [ $# -gt 0 ]; then yes install "$@"; fi
if [ -n "$hold" ]; then lock $hold; fi
"""
)


def install(
    packages: Mapping[str, str], *, free: Sequence[str] = (), hold: Sequence[str] = (), older: Sequence[str] = ()
) -> list[Command]:
    """Brings packages to what is asked of them; those to be absent go first.

    `free` are locked by us and may change; `hold` are locked afterwards, in the versions that they have then; `older`
    may become older, beside those of which one exact version is asked.
    """
    coming = [_asked(name, version) for name, version in packages.items() if version != ABSENT]
    going = [name for name, version in packages.items() if version == ABSENT]
    exact = [name for name, version in packages.items() if is_exact(version)]
    may_be_older = " ".join(dict.fromkeys([*exact, *older]))
    names = [name for name in packages if name not in going]
    what = doing(installing=names, removing=going)
    download = shell(
        _DOWNLOAD,
        *(" ".join(going), may_be_older, " ".join(free), *coming),
        says=doing(downloading=names) or what,
        timeout_s=DOWNLOAD_S,
        root=True,
    )
    run = shell(
        _INSTALL,
        *(" ".join(going), " ".join(free), " ".join(hold), *coming),
        says=what or doing(holding=hold, releasing=free),
        timeout_s=INSTALL_S,
        root=True,
    )
    return [*([leashed(download)] if packages else []), surviving(run)]


def _asked(name: str, version: str) -> str:
    return name if version == ANY else f"{name}-{version}"
