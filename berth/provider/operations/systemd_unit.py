"""A unit of systemd: its own file or a drop-in beside another's, whether it starts at boot, and whether it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from berth.facts import HostFacts
from berth.provider.command import Command, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.legacy_gpus import losing_gpus
from berth.provider.operation import FactOperation, Want
from berth.provider.unchangeable import refuse_unchangeable

# The signals of a connection that is cut are ignored: a file that nobody loads would be seen as done. $3 is the size of
# the content, which comes as input: a connection that is cut meanwhile leaves the file as it was.
_CHANGE = """
trap '' HUP INT TERM PIPE
unit=$1
if [ -n "$2" ]; then
  mkdir -p -- "${2%/*}"
  new=$(mktemp "${2%/*}/.berth.XXXXXX")
  cat > "$new"
  if [ "$(wc -c < "$new")" -ne "$3" ]; then
    rm -f -- "$new"
    echo "only a part of the content came" >&2
    exit 1
  fi
  chmod 0644 "$new"
  mv -f -- "$new" "$2"
fi
if [ -n "$4" ]; then systemctl daemon-reload; fi
if [ -n "$5" ]; then systemctl --quiet "$5" -- "$unit"; fi
if [ -n "$6" ]; then
  systemctl reset-failed -- "$unit" 2> /dev/null || :
  if ! systemctl "$6" -- "$unit"; then
    journalctl --unit "$unit" --lines 20 --no-pager --output cat >&2
    exit 1
  fi
fi
"""

# A drop-in leaves its unit as it is, without what the drop-in said.
_REMOVE = """
trap '' HUP INT TERM PIPE
if [ "$3" = unit ]; then systemctl --quiet disable --now -- "$1" || :; fi
rm -f -- "$2"
rmdir -- "${2%/*}" 2> /dev/null || :
systemctl daemon-reload
"""

_ENABLED = frozenset({"enabled", "alias", "generated"})
_ACTIVE = frozenset({"active", "activating", "reloading"})
_START_S = 300.0


class SystemdUnitWant(Want):
    """A unit such as `docker.service`.

    `content` is that of its own file, or with `drop_in` (a name with berth in it, such as `10-berth`) that of a file in
    UNIT.d; empty, no file is declared. `enabled` and `active` None leave those as they are. With `restart` an active
    unit is restarted when its content changes, since what runs has the old one.

    A changed file needs a daemon-reload, which takes the GPUs from containers that got them in legacy mode. Where such
    containers run, that is refused, unless `reload` says that they may lose them.

    `loaded` is there to be observed: whether systemd has read the file as it is.
    """

    unit: str = Field(pattern=r"^[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|path|target|mount|slice)$")
    drop_in: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$")
    content: str = ""
    enabled: bool | None = None
    active: bool | None = None
    restart: bool = False
    reload: bool = False
    loaded: bool = True
    on_destroy: Literal["keep", "remove"] = "keep"

    @model_validator(mode="after")
    def _sayable(self) -> Self:
        if self.drop_in and not self.content:
            raise ValueError("drop_in is given without content, must have what the drop-in says")
        if self.content and "berth" not in (self.drop_in or self.unit):
            raise ValueError("a file's name lacks berth, must have it: so it is known as ours, there and in the facts")
        return self

    @property
    def path(self) -> str:
        """The file that is declared."""
        unit = f"/etc/systemd/system/{self.unit}"
        return f"{unit}.d/{self.drop_in}.conf" if self.drop_in else unit


class SystemdUnit(FactOperation[SystemdUnitWant]):
    """Declares a unit of systemd."""

    kind = "berth:host:SystemdUnit"
    wants = SystemdUnitWant
    replace = frozenset({"host", "unit", "drop_in"})

    def identity(self, want: SystemdUnitWant) -> str:
        """The file's path on its host."""
        return f"{want.host}:{want.path}"

    def seen(self, facts: HostFacts, want: SystemdUnitWant) -> SystemdUnitWant | None:
        """The file and the unit's state; None where neither is there."""
        unit, file = facts.units.get(want.unit), facts.files.get(want.path)
        if file is None and (unit is None or (want.content and not want.drop_in)):
            return None
        update: dict[str, object] = {"loaded": unit is None or not unit.needs_reload}
        if want.content:
            update["content"] = (file.content or "") if file is not None else ""
        if want.enabled is not None:
            update["enabled"] = unit is not None and unit.enabled in _ENABLED
        if want.active is not None:
            update["active"] = unit is not None and unit.active in _ACTIVE
        return want.model_copy(update=update)

    def steps(self, want: SystemdUnitWant | None, have: SystemdUnitWant | None) -> Sequence[Command]:
        """One script for all of it, since a new file that nobody loads is worse than none."""
        if want is None:
            return [] if have is None or not have.content else [_remove(have)]
        changed = bool(want.content) and (have is None or have.content != want.content)
        reload = changed or (have is not None and not have.loaded)
        enable = want.enabled is not None and (have is None or have.enabled != want.enabled)
        start = _start(want, have, changed=changed)
        if not (reload or enable or start):
            return []
        content = want.content.encode()
        arguments = (
            want.unit,
            want.path if changed else "",
            str(len(content)) if changed else "",
            "daemon-reload" if reload else "",
            ("enable" if want.enabled else "disable") if enable else "",
            start,
        )
        says = f"changing {want.unit}: {', '.join(word for word in (want.drop_in, *arguments[3:]) if word)}"
        stdin = content if changed else None
        return [shell(_CHANGE, *arguments, says=says, stdin=stdin, timeout_s=_START_S, root=True)]

    async def preflight(self, host: Host, want: SystemdUnitWant) -> None:
        """No systemd, a masked unit, and containers that a daemon-reload would take the GPUs from."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        refuse_unchangeable(facts, host.name, f"{want.unit} is {_said(have)}, must be {_said(want)}")
        unit = facts.units.get(want.unit)
        if unit is not None and unit.enabled == "masked" and (want.enabled or want.active):
            raise BadInput(
                f"{host.name}: {want.unit} is masked, must be {_said(want)}; somebody switched it off for good: run "
                f"`systemctl unmask {want.unit}` there if it may run"
            )
        if self._reloads(want, have) and not want.reload and (losing := losing_gpus(facts)):
            raise BadInput(
                f"{host.name}: {want.unit} needs a daemon-reload, which takes the GPUs from running containers that "
                f"got them in legacy mode ({', '.join(losing)}); make those anew with CDI (--device "
                "nvidia.com/gpu=all), or stop them for the change"
            )

    async def warnings(self, host: Host, want: SystemdUnitWant) -> Sequence[str]:
        """That containers lose their GPUs, where that is allowed."""
        facts = await host.facts()
        if want.reload and self._reloads(want, self.seen(facts, want)) and (losing := losing_gpus(facts)):
            lost = ", ".join(losing)
            return [
                f"{host.name}: {want.unit} needs a daemon-reload; make {lost} anew afterwards, they lose their GPUs"
            ]
        return ()

    def _reloads(self, want: SystemdUnitWant, have: SystemdUnitWant | None) -> bool:
        return any("daemon-reload" in command.argv for command in self.steps(want, have))


def _start(want: SystemdUnitWant, have: SystemdUnitWant | None, *, changed: bool) -> str:
    """What systemctl is asked for, empty where nothing is."""
    active = have is not None and have.active
    if want.active is False:
        return "stop" if active else ""
    if want.active and not active:
        return "restart" if changed else "start"
    return "try-restart" if changed and want.restart else ""


def _remove(have: SystemdUnitWant) -> Command:
    kind = "drop-in" if have.drop_in else "unit"
    return shell(_REMOVE, have.unit, have.path, kind, says=f"removing {have.path}", timeout_s=_START_S, root=True)


def _said(unit: SystemdUnitWant | None) -> str:
    """What a unit is, for a person."""
    if unit is None:
        return "not there"
    states = [
        *([] if unit.enabled is None else ["enabled" if unit.enabled else "not enabled"]),
        *([] if unit.active is None else ["running" if unit.active else "not running"]),
    ]
    return " and ".join(states) or "as its file says"
