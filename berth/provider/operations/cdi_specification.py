"""The CDI specification of a host's GPUs: exactly one file, of the driver that is loaded and the GPUs there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.facts.model import CdiFile
from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.legacy_gpus import told
from berth.provider.operation import FactOperation, Want
from berth.provider.unchangeable import refuse_unchangeable

REFRESH = ("nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service")
"""The toolkit's own units from 1.18 on: the first waits for another driver, the second writes the specification."""

DROP_IN = "/etc/systemd/system/nvidia-cdi-refresh.service.d/20-berth.conf"
"""Beside 10-container-engines.conf, which the toolkit has itself from 1.20.1 on and which is not to be hidden."""

_OF_UNIT, _BY_HAND = "/var/run/cdi/nvidia.yaml", "/etc/cdi/nvidia.yaml"
_MADE_BY_TOOLKIT = {_OF_UNIT, _BY_HAND, "/etc/cdi/nvidia.json", "/var/run/cdi/nvidia.json"}
"""Where the toolkit and its guides put specifications; these may be removed, others are somebody's own."""

_RELOAD = """
systemctl daemon-reload
"""

# Its conditions (nvidia-smi is there, a module for the running kernel is) end it without a failure and without a file.
_REFRESH = """
service=nvidia-cdi-refresh.service
systemctl enable --quiet nvidia-cdi-refresh.path "$service"
systemctl start nvidia-cdi-refresh.path
systemctl reset-failed "$service" 2> /dev/null || :
if ! systemctl start "$service"; then
  journalctl --unit "$service" --lines 20 --no-pager --output cat >&2
  exit 1
fi
case $(systemctl show --property ConditionResult,Result "$service") in
  *ConditionResult=no* | *Result=exec-condition*)
    echo "$service ran and wrote nothing: it finds no nvidia-smi, or no driver for the running kernel" >&2
    exit 1 ;;
esac
"""

_NO_DRIVER = """
echo "no NVIDIA driver is loaded, which the specification of the GPUs needs; see what the driver's resource says" >&2
exit 1
"""

_LIMIT_S = 300.0
_NONE_LOADED = "no driver is loaded"


class CdiSpecificationWant(Want):
    """One specification of `kind`, written to where `refreshed_by` says.

    With `unit` it is /var/run/cdi/nvidia.yaml, written by the toolkit's own service (1.18 and newer) at every boot,
    before Docker starts, and after every change of the driver; with `nobody` it is /etc/cdi/nvidia.yaml, written when
    it differs. `disabled_hooks` are left out of it: `enable-cuda-compat` on a GeForce whose images bring a newer CUDA
    than its driver, which would give such a card libraries that it cannot use.

    `problems`, `duplicates` (other files of the same kind), `units` and `drop_in` are there to be observed; a drop-in
    is not loaded where an update was cut before systemd read it. `on_disk` is not compared: a change of the driver on
    disk makes this looked at again.
    """

    kind: str = "nvidia.com/gpu"
    refreshed_by: Literal["unit", "nobody"] = "unit"
    disabled_hooks: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,60}$")]] = []
    on_disk: str = ""
    problems: list[str] = []
    duplicates: list[str] = []
    units: Literal["enabled", "disabled"] = "enabled"
    drop_in: Literal["as declared", "other", "missing", "not loaded"] = "as declared"
    on_destroy: Literal["keep", "remove"] = "keep"

    @property
    def path(self) -> str:
        """The one file."""
        return _OF_UNIT if self.refreshed_by == "unit" else _BY_HAND

    def order(self) -> str:
        """What is added to the toolkit's service.

        The specification has the persistence daemon's socket where that runs when it is written; a container whose
        specification names a socket that is not there does not start. A oneshot service has no limit of its own, and
        Docker now waits for this one.
        """
        lines = ["# Written by Berth.", "[Unit]", "Before=docker.service", "After=nvidia-persistenced.service", ""]
        lines += ["[Service]", "TimeoutStartSec=90s"]
        if self.disabled_hooks:
            lines.append(f"Environment=NVIDIA_CTK_CDI_GENERATE_DISABLED_HOOKS={','.join(self.disabled_hooks)}")
        return "\n".join([*lines, ""])


class CdiSpecification(FactOperation[CdiSpecificationWant]):
    """Declares the specification that Docker gives GPUs by."""

    kind = "berth:host:CdiSpecification"
    wants = CdiSpecificationWant
    replace = frozenset({"host", "kind", "refreshed_by"})
    late = frozenset({"on_disk"})

    def identity(self, want: CdiSpecificationWant) -> str:
        """The file on its host."""
        return f"{want.host}:{want.path}"

    def seen(self, facts: HostFacts, want: CdiSpecificationWant) -> CdiSpecificationWant | None:
        """How the file agrees with driver and GPUs; None where there is none."""
        files = {_one_name(file.path): file for file in facts.cdi if file.kind == want.kind}
        ours = files.pop(want.path, None)
        if ours is None and not files:
            return None
        by_unit = _by_unit(want)
        return want.model_copy(
            update={
                "problems": list(_problems(facts, ours, want)),
                "duplicates": sorted(files),
                "units": "enabled" if not by_unit or _enabled(facts) else "disabled",
                "drop_in": _drop_in(facts, want) if by_unit else "as declared",
            }
        )

    def steps(self, want: CdiSpecificationWant | None, have: CdiSpecificationWant | None) -> Sequence[Command]:
        """Takes other files of the toolkit's away, then has the one written anew."""
        if want is None:
            return [] if have is None else _remove(have)
        duplicates = have.duplicates if have is not None else []
        commands = [_forget(path) for path in duplicates if path in _MADE_BY_TOOLKIT]
        if have is not None and _NONE_LOADED in have.problems:
            return [*commands, shell(_NO_DRIVER, says="looking at the driver")]
        stale = have is None or bool(have.problems)
        if want.refreshed_by == "nobody":
            return [*commands, _generate(want)] if stale else commands
        if have is None or have.drop_in != "as declared":
            commands += [put(DROP_IN, want.order(), root=True), _reload()]
            stale = True
        if stale or (have is not None and have.units != "enabled"):
            says = "writing the CDI specification of the GPUs"
            commands.append(shell(_REFRESH, says=says, root=True, timeout_s=_LIMIT_S))
        return commands

    async def preflight(self, host: Host, want: CdiSpecificationWant) -> None:
        """A second specification that somebody wrote is for that somebody to remove."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        refuse_unchangeable(
            facts, host.name, f"CDI: {want.path} is not as the GPUs are, must be", systemd=_by_unit(want)
        )
        foreign = [path for path in (have.duplicates if have is not None else ()) if path not in _MADE_BY_TOOLKIT]
        if foreign:
            raise BadInput(
                f"{host.name}: {', '.join(foreign)} specifies {want.kind} beside {want.path}, must not, "
                "since Docker then knows neither; move it away, or give it another kind"
            )

    async def warnings(self, host: Host, want: CdiSpecificationWant) -> Sequence[str]:
        """What `systemctl daemon-reload` takes from containers that got their GPUs in the old way."""
        facts = await host.facts()
        have = self.seen(facts, want)
        reloads = _by_unit(want) and (have is None or have.drop_in != "as declared")
        return told(facts, host.name) if reloads else ()


def _by_unit(want: CdiSpecificationWant) -> bool:
    return want.refreshed_by == "unit"


def _one_name(path: str) -> str:
    """/run and /var/run are one folder."""
    return f"/var{path}" if path.startswith("/run/") else path


def _problems(facts: HostFacts, ours: CdiFile | None, want: CdiSpecificationWant) -> Iterator[str]:
    if facts.driver.loaded is None:
        yield _NONE_LOADED
        return
    if ours is None:
        yield "there is none"
        return
    if ours.driver != facts.driver.loaded:
        yield f"it is of driver {ours.driver or '(none)'}, loaded is {facts.driver.loaded}"
    yield from (f"it has the hook {hook}" for hook in want.disabled_hooks if hook in ours.hooks)
    if "gpus" in facts.unread:
        return
    for gpu in facts.gpus:
        if not gpu.mig and not {str(gpu.index), gpu.uuid} <= set(ours.devices):
            yield f"it lacks GPU {gpu.index}"
    here = {str(gpu.index) for gpu in facts.gpus}
    yield from (f"it has GPU {name}, which is gone" for name in ours.devices if name.isdigit() and name not in here)
    if facts.gpus and "all" not in ours.devices:
        yield "it lacks the device all"


def _enabled(facts: HostFacts) -> bool:
    found = [facts.units.get(name) for name in REFRESH]
    return all(unit is not None and unit.enabled == "enabled" for unit in found)


def _drop_in(facts: HostFacts, want: CdiSpecificationWant) -> str:
    file = facts.files.get(DROP_IN)
    if file is None:
        return "missing"
    if file.content != want.order():
        return "other"
    service = facts.units.get(REFRESH[1])
    return "not loaded" if service is not None and service.needs_reload else "as declared"


def _forget(path: str) -> Command:
    return Command(argv=("rm", "-f", "--", path), says=f"removing {PurePosixPath(path)}, a second one", root=True)


def _reload() -> Command:
    return shell(_RELOAD, says="telling systemd", root=True)


def _generate(want: CdiSpecificationWant) -> Command:
    left_out = [f"--disable-hook={hook}" for hook in want.disabled_hooks]
    argv = ("nvidia-ctk", "cdi", "generate", f"--output={want.path}", *left_out)
    return Command(argv=argv, says="writing the CDI specification of the GPUs", root=True, timeout_s=_LIMIT_S)


def _remove(have: CdiSpecificationWant) -> list[Command]:
    paths = (have.path, *(path for path in have.duplicates if path in _MADE_BY_TOOLKIT), DROP_IN)
    gone = Command(argv=("rm", "-f", "--", *paths), says=f"removing {have.path}", root=True)
    return [gone, _reload()] if have.refreshed_by == "unit" else [gone]
