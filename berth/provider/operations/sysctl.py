"""Settings of the kernel: in force now, and again after each boot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from berth.catalogue.patterns import SETTING, SETTING_VALUE
from berth.facts import HostFacts
from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.unchangeable import refuse_unchangeable

Key = Annotated[str, StringConstraints(pattern=SETTING)]
Value = Annotated[str, StringConstraints(pattern=SETTING_VALUE)]


# Written without `sysctl`, which small systems lack; all that the kernel refuses is said in one run.
_SET = """
failed=
while [ $# -gt 0 ]; do
  file=/proc/sys/$(printf %s "$1" | tr ./ /.)
  if [ ! -e "$file" ]; then
    echo "$1: this kernel has no such setting; take it out of the stack file" >&2
    failed=yes
  elif ! { printf '%s\\n' "$2" > "$file"; } 2> /dev/null; then
    echo "$1 is $(cat -- "$file"), must be $2: the kernel refuses it; a container cannot set it for its machine" >&2
    failed=yes
  fi
  shift 2
done
if [ -n "$failed" ]; then exit 1; fi
"""

_PARTS = re.compile(r"[./]")
_SWAPPED = str.maketrans("./", "/.")

_REMOVE = """
rm -f -- "$1"
"""


class SysctlWant(Want):
    """Settings by their names with dots (`vm.max_map_count`). `name` is that of their file in /etc/sysctl.d.

    `boot` is there to be observed: whether that file says what is declared.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    values: dict[Key, Value] = Field(min_length=1)
    boot: Literal["as declared", "other"] = "as declared"
    on_destroy: Literal["keep", "remove"] = "keep"

    @property
    def path(self) -> str:
        """The file that is read at boot, after the system's own and what a machine usually has in 99-*.conf."""
        return f"/etc/sysctl.d/99-zz-berth-{self.name}.conf"

    def text(self) -> str:
        """What the file says."""
        return "".join(f"{key} = {value}\n" for key, value in self.values.items())


class Sysctl(FactOperation[SysctlWant]):
    """Declares settings of the kernel."""

    kind = "berth:host:Sysctl"
    wants = SysctlWant
    replace = frozenset({"host", "name"})

    def identity(self, want: SysctlWant) -> str:
        """The file's name on its host."""
        return f"{want.host}:sysctl:{want.name}"

    def seen(self, facts: HostFacts, want: SysctlWant) -> SysctlWant | None:
        """The values in force, and the file that brings them back at boot; None without that file."""
        file = facts.files.get(want.path)
        if file is None:
            return None
        values = {key: facts.sysctl[key] for key in want.values if key in facts.sysctl}
        boot = "as declared" if file.content == want.text() else "other"
        return want.model_copy(update={"values": values, "boot": boot})

    def steps(self, want: SysctlWant | None, have: SysctlWant | None) -> Sequence[Command]:
        """What differs is set now, then written for the next boot: what the kernel refuses is not left there."""
        if want is None:
            says = f"removing {have.path} (in force until the next boot)" if have is not None else ""
            return [] if have is None else [shell(_REMOVE, have.path, says=says, root=True)]
        values = {} if have is None else have.values
        change = {key: value for key, value in want.values.items() if values.get(key) != value}
        commands = []
        if change:
            pairs = [word for pair in change.items() for word in pair]
            commands.append(shell(_SET, *pairs, says=f"setting {', '.join(change)}", root=True))
        if have is None or have.boot != "as declared":
            commands.append(put(want.path, want.text(), root=True))
        return commands

    async def preflight(self, host: Host, want: SysctlWant) -> None:
        """A container's kernel is not its own; and a file that is read later would undo it at the next boot."""
        facts = await host.facts()
        have = self.seen(facts, want)
        found = {key: facts.sysctl.get(key, "unknown") for key in want.values}
        wrong = [f"{key} is {found[key]}, must be {value}" for key, value in want.values.items() if found[key] != value]
        if have is None or self.differing(want, have):
            problem = "; ".join(wrong) or f"{want.path} is missing or other than declared"
            refuse_unchangeable(facts, host.name, problem, systemd=False)
        if undone := list(_undone(facts, want)):
            raise BadInput("\n".join(f"{host.name}: {problem}" for problem in undone))


def _undone(facts: HostFacts, want: SysctlWant) -> Iterator[str]:
    """What files that are read after ours say otherwise. systemd does not read /etc/sysctl.conf itself."""
    later = sorted(path for path in facts.files if path.startswith("/etc/sysctl.d/") and path > want.path)
    for path in [*later, *([] if facts.systemd else ["/etc/sysctl.conf"])]:
        file = facts.files.get(path)
        for key, value in _read((file.content if file is not None else None) or ""):
            if want.values.get(key, value) != value:
                yield (
                    f"{path} sets {key} to {value}, must not, since it is read after {want.path}, which says "
                    f"{want.values[key]}; take the line out"
                )


def _read(text: str) -> Iterator[tuple[str, str]]:
    """The settings of a file, by names with dots."""
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        key = key.strip().removeprefix("-")
        if equals and not key.startswith(("#", ";")):
            first = _PARTS.search(key)
            dotted = key.translate(_SWAPPED) if first is not None and first[0] == "/" else key
            yield dotted, " ".join(value.split())
