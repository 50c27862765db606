"""Docker's daemon.json: what is declared is merged into what is there, key by key, and the daemon takes it over.

Its own rewrite would lose what others put there (`nvidia-ctk runtime configure --cdi.enabled` drops other `features`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from berth.catalogue.docker import CDI_SINCE, RELOADABLE, at_least
from berth.facts import HostFacts
from berth.provider.command import Command, shell
from berth.provider.daemon_json import Unreadable, lacking, merged, parse, projected, rendered, without
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.operations.docker_engine import refuse

# Stages the new file beside the old one and lets dockerd validate it. What follows runs in a session of its own, to its
# end: a lost connection must not leave a daemon without the file that it can start with. The lock is the folder's, on
# descriptor 9, which that session inherits: as long as it lives its backup is its own, whoever comes meanwhile.
CONFIGURE = """
take_over=$1 path=$2 unit=$3 mode=$4 was=$5 size=$6 patience=$7
folder=${path%/*}
mkdir -p -- "$folder"
exec 9< "$folder"
if ! flock --nonblock 9; then
  echo "waiting for another change of $path, which still runs" >&2
  if ! flock --timeout "$patience" 9; then
    echo "another change of $path runs for more than $patience s; look at Docker there, then run the same again" >&2
    exit 1
  fi
fi
rm -rf -- "$folder"/.berth.??????
umask 077
work=$(mktemp -d -- "$folder/.berth.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
cat > "$work/new"
if [ "$(wc -c < "$work/new")" -ne "$size" ]; then echo "only a part of the content came" >&2; exit 1; fi
now=
if [ -e "$path" ]; then now=$(sha256sum < "$path"); fi
if [ "${now%% *}" != "$was" ]; then echo "$path was changed meanwhile; run the same again" >&2; exit 1; fi
if [ "$mode" != remove ] && dockerd --help 2>&1 | grep -q -e --validate; then
  if ! dockerd --validate --config-file "$work/new" > "$work/said" 2>&1; then
    echo "Docker refuses the settings, nothing was changed:" >&2
    cat "$work/said" >&2
    exit 1
  fi
fi
said=$(mktemp)
trap - EXIT
setsid sh -euc "$take_over" berth "$path" "$unit" "$mode" "$work" < /dev/null > "$said" 2>&1 &
status=0
wait "$!" || status=$?
cat "$said" >&2
rm -f -- "$said"
exit "$status"
"""

# The file of before comes back only over the one that this put there, and nothing is removed that was there before.
TAKE_OVER = """
path=$1 unit=$2 mode=$3 work=$4
trap 'rm -rf -- "$work"' EXIT
digest() { if [ -e "$path" ]; then sha256sum < "$path"; fi; }
back() {
  if [ "$(digest)" != "$put" ]; then
    which="$path was changed by somebody else meanwhile and is left so"
  elif [ -e "$work/old" ]; then
    mv -f -- "$work/old" "$path"
    which="the file of before is back"
  elif [ -n "$before" ]; then
    which="the file of before is lost, $path is left as it is now"
  else
    rm -f -- "$path"
    which="the file of before is back: there was none"
  fi
}
recent() { journalctl --unit "$unit" --lines 12 --no-pager --output cat || :; }
reloaded() {
  if ! command -v docker > /dev/null; then return 0; fi
  for _ in $(seq 50); do
    if [ -n "$(docker events --since "$1" --until "$(date +%s.%N)" --filter event=reload)" ]; then return 0; fi
    sleep 0.2
  done
  return 1
}
reload() { since=$(date +%s.%N); systemctl reload "$unit" && reloaded "$since"; }
restart() { systemctl reset-failed "$unit" 2> /dev/null || :; systemctl restart "$unit"; }
before=$(digest)
if [ -n "$before" ]; then
  cp -p -- "$path" "$work/old"
  chmod --reference="$path" -- "$work/new"
  chown --reference="$path" -- "$work/new"
else
  chmod 0644 "$work/new"
fi
if [ "$mode" = remove ]; then rm -f -- "$path"; else mv -f -- "$work/new" "$path"; fi
put=$(digest)
if ! systemctl --quiet is-active "$unit"; then exit 0; fi
case $mode in
  reload | both)
    if ! reload; then
      back
      echo "Docker does not take the settings over; $which. It said:"
      recent
      reload || :
      exit 1
    fi ;;
esac
case $mode in
  restart | both | remove)
    if ! restart; then
      back
      echo "Docker does not start with the settings; $which. It said:"
      recent
      if ! restart; then echo "It does not start with that one either."; fi
      exit 1
    fi ;;
esac
"""

_LIMIT_S = 600.0
_PATIENCE_S = 240
"""How long a change waits for another one to end."""


class DockerConfigurationWant(Want):
    """Keys of daemon.json, nested as there; keys that are not named are never touched. A list is wanted as a whole.

    `defaults` are added where neither the file nor `settings` say anything of them.

    `problem`, `ignored` and `lacking` are there to be observed: why the file cannot be read, which of the settings the
    running daemon does not work by although they are in the file, and the keys that lack a default. `text` is the file
    as it was read, into which what is wanted is merged; it is no part of the declaration and not kept in the state.
    """

    path: str = "/etc/docker/daemon.json"
    unit: str = "docker.service"
    settings: dict[str, Any]
    defaults: dict[str, Any] = {}
    problem: str = ""
    ignored: list[str] = []
    lacking: list[str] = []
    on_destroy: Literal["keep", "remove"] = "keep"
    text: str | None = Field(default=None, exclude=True, repr=False)


class DockerConfiguration(FactOperation[DockerConfigurationWant]):
    """Declares settings of Docker's daemon."""

    kind = "berth:host:DockerConfiguration"
    wants = DockerConfigurationWant
    replace = frozenset({"host", "path", "unit"})

    def identity(self, want: DockerConfigurationWant) -> str:
        """The file on its host."""
        return f"{want.host}:{want.path}"

    def seen(self, facts: HostFacts, want: DockerConfigurationWant) -> DockerConfigurationWant | None:
        """The file, less the keys that are not asked for, and whether the daemon works by it."""
        file = facts.files.get(want.path)
        if file is None:
            return None
        text = file.content
        if text is None:
            why = facts.unread.get(f"files.{want.path}", "is no text, or longer than any configuration")
            return want.model_copy(update={"settings": {}, "problem": f"{want.path}: {why}"})
        try:
            found = parse(text)
        except Unreadable as error:
            return want.model_copy(update={"settings": {}, "problem": f"{want.path}: {error}", "text": text})
        settings = projected(found, want.settings)
        ignored = [] if settings != want.settings else list(_ignored(facts, want.settings))
        lacks = sorted(lacking(found, want.settings, want.defaults))
        return want.model_copy(
            update={"settings": settings, "problem": "", "ignored": ignored, "lacking": lacks, "text": text}
        )

    def differing(self, want: DockerConfigurationWant | None, have: DockerConfigurationWant | None) -> list[str]:
        """As always; taken away is a setting when the file does not have it, which may hold others."""
        if want is None and have is not None and not _unwanted(have):
            return []
        return super().differing(want, have)

    def steps(self, want: DockerConfigurationWant | None, have: DockerConfigurationWant | None) -> Sequence[Command]:
        """One file, taken over by a reload where that is enough, and by a restart else."""
        before = have.text if have is not None else None
        if have is not None and have.problem:
            return []  # a person's to repair; `preflight` says so
        found = parse(before or "")
        if want is None:
            if have is None or not (unwanted := _unwanted(have)):
                return []
            rest = without(found, unwanted)
            return [_configure(have, before, rest, "restart" if rest else "remove")]
        mode = taken_over_by(want, have)
        wanted = merged(want.settings, lacking(found, want.settings, want.defaults))
        return [] if mode == "nothing" else [_configure(want, before, merged(found, wanted), mode)]

    async def preflight(self, host: Host, want: DockerConfigurationWant) -> None:
        """A file that a person broke is for that person to repair."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        refuse(facts, host.name, want.unit)
        if have is not None and have.problem:
            raise BadInput(
                f"{host.name}: {have.problem}; must be JSON that Docker reads; repair it or move it away, "
                "Berth does not write over it"
            )

    async def warnings(self, host: Host, want: DockerConfigurationWant) -> Sequence[str]:
        """What taking the settings over does to what runs."""
        facts = await host.facts()
        have = self.seen(facts, want)
        lives = facts.docker.live_restore or want.settings.get("live-restore") is True
        if lives or not facts.docker.running or taken_over_by(want, have) != "restart":
            return ()
        stops = said_to_stop(facts.docker.running)
        return [f"Docker takes {', '.join(_keys(want, have))} over by a restart, which {stops}"]


def said_to_stop(running: int) -> str:
    """What a restart of Docker without live-restore does to that many containers."""
    named = "container" if running == 1 else "containers"
    return f"stops {running} {named}; with docker.live_restore: true they go on"


Mode = Literal["nothing", "reload", "restart", "both"]


def taken_over_by(want: DockerConfigurationWant, have: DockerConfigurationWant | None) -> Mode:
    """What makes the daemon work by the settings.

    A restart keeps containers only when live-restore is on before it, which a reload does.
    """
    keys = _keys(want, have)
    if not keys:
        return "nothing"
    if all(key in RELOADABLE for key in keys):
        return "reload"
    return "both" if want.settings.get("live-restore") is True else "restart"


def _keys(want: DockerConfigurationWant, have: DockerConfigurationWant | None) -> list[str]:
    """The settings that the daemon has to take over, each by its path as far as that says how."""
    there = have.settings if have is not None else {}
    changed = {
        name
        for key, value in want.settings.items()
        if there.get(key) != value
        for name in _names(key, value, there.get(key))
    }
    lacks = have.lacking if have is not None else lacking({}, want.settings, want.defaults)
    return sorted(changed | set(have.ignored if have is not None else ()) | set(lacks))


def _unwanted(have: DockerConfigurationWant) -> dict[str, Any]:
    """What goes when the declaration goes: its keys, and the defaults that are there as Berth writes them."""
    if have.problem:
        return have.settings
    found = parse(have.text or "")
    own = {key: value for key, value in have.defaults.items() if projected(found, {key: value}) == {key: value}}
    return merged(own, have.settings)


def _names(key: str, value: Any, before: Any) -> Iterator[str]:
    if key != "features" or not isinstance(value, Mapping):
        yield key
        return
    old = before if isinstance(before, Mapping) else {}
    yield from (f"features.{name}" for name in value if value[name] != old.get(name))


def _ignored(facts: HostFacts, settings: Mapping[str, Any]) -> Iterator[str]:
    """What the answering daemon says of itself that is not as its file says."""
    docker = facts.docker
    if docker.version is None:
        return
    if docker.runtimes and not set(settings.get("runtimes", {})) <= set(docker.runtimes):
        yield "runtimes"
    if "default-runtime" in settings and docker.default_runtime not in {None, settings["default-runtime"]}:
        yield "default-runtime"
    if "live-restore" in settings and docker.live_restore not in {None, settings["live-restore"]}:
        yield "live-restore"
    cdi = settings.get("features", {}).get("cdi")
    if cdi is not None and at_least(docker.version, CDI_SINCE) and bool(docker.cdi_dirs) != cdi:
        yield "features.cdi"


def _configure(
    want: DockerConfigurationWant, before: str | None, settings: Mapping[str, Any], mode: Mode | Literal["remove"]
) -> Command:
    content = rendered(settings, before).encode()
    was = "" if before is None else hashlib.sha256(before.encode()).hexdigest()
    how = {"reload": "reloads", "restart": "restarts", "both": "reloads, then restarts", "remove": "restarts"}
    return shell(
        CONFIGURE,
        *(TAKE_OVER, want.path, want.unit, mode, was, str(len(content)), str(_PATIENCE_S)),
        stdin=content,
        says=f"changing {want.path}; Docker {how[mode]}",
        timeout_s=_LIMIT_S,
        root=True,
    )
