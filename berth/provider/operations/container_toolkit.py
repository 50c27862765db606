"""The NVIDIA container toolkit beside Docker: new enough, in the right mode, and known to the running dockerd.

Its four packages are a `Packages` resource; its runtime is registered by `DockerConfiguration` (`NVIDIA_RUNTIME` of
`berth.catalogue.docker`), which comes before this, so that one restart of Docker serves both.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any, Literal, get_args

from berth.catalogue.docker import OLDEST_TOOLKIT, at_least
from berth.facts import HostFacts
from berth.provider.command import Command, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.operations.docker_configuration import said_to_stop
from berth.provider.operations.docker_engine import START, START_S, refuse

Mode = Literal["auto", "cdi", "jit-cdi", "legacy", "csv", "another"]

_TOO_OLD = """
echo "the NVIDIA container toolkit $1 is installed, must be $2 or newer; set the version of" \
  "prerequisites.container_toolkit, or upgrade its packages" >&2
exit 1
"""


class ContainerToolkitWant(Want):
    """A toolkit of at least version `minimum`, configured in the file `config`.

    `mode` is how its runtime gives GPUs to containers: with `auto` both ways of asking for them work, by CDI device and
    by `--gpus`; with `cdi` the second does not. `no_cgroups` is a leftover of rootless set-ups, which takes the GPUs
    away from all other containers. `version` (empty where it is new enough), `problem` and `detected` are there to be
    observed: Docker looks for the toolkit at its start only.
    """

    config: str = "/etc/nvidia-container-runtime/config.toml"
    unit: str = "docker.service"
    minimum: str = OLDEST_TOOLKIT
    version: str = ""
    mode: Mode = "auto"
    no_cgroups: bool = False
    problem: str = ""
    detected: bool = True
    on_destroy: Literal["keep", "remove"] = "keep"


class ContainerToolkit(FactOperation[ContainerToolkitWant]):
    """Declares how the toolkit is configured. Its packages are what is removed of it, by their own resource."""

    kind = "berth:host:ContainerToolkit"
    wants = ContainerToolkitWant
    replace = frozenset({"host", "config"})

    def identity(self, want: ContainerToolkitWant) -> str:
        """Its configuration on its host."""
        return f"{want.host}:{want.config}"

    def seen(self, facts: HostFacts, want: ContainerToolkitWant) -> ContainerToolkitWant | None:
        """Version and configuration; None where it is not installed. Without its file its defaults hold."""
        if facts.toolkit is None:
            return None
        file = facts.files.get(want.config)
        settings, problem = _settings(file.content if file is not None else "")
        return want.model_copy(
            update={
                "version": "" if at_least(facts.toolkit, want.minimum) else facts.toolkit,
                "mode": _mode(settings),
                "no_cgroups": _section(settings, "nvidia-container-cli").get("no-cgroups") is True,
                "problem": f"{want.config}: {problem}" if problem else "",
                "detected": facts.docker.detected is not False,
            }
        )

    def differing(self, want: ContainerToolkitWant | None, have: ContainerToolkitWant | None) -> list[str]:
        """As always; taken away, it has nothing to differ in."""
        return [] if want is None else super().differing(want, have)

    def steps(self, want: ContainerToolkitWant | None, have: ContainerToolkitWant | None) -> Sequence[Command]:
        """The toolkit changes its own file: other settings stay, comments do not.

        Docker is started again where it does not know of the toolkit yet.
        """
        if want is None or (have is not None and have.problem):
            return []
        if have is None or have.version:
            installed = have.version if have is not None else "(none)"
            return [shell(_TOO_OLD, installed, want.minimum, says="looking at the container toolkit's version")]
        commands = []
        if (have.mode, have.no_cgroups) != (want.mode, want.no_cgroups):
            commands.append(_configure(want))
        if not have.detected:
            says = "restarting Docker, which looks for the container toolkit at its start only"
            commands.append(shell(START, want.unit, "restart", says=says, root=True, timeout_s=START_S))
        return commands

    async def preflight(self, host: Host, want: ContainerToolkitWant) -> None:
        """A file that a person broke is for that person to repair."""
        facts = await host.facts()
        have = self.seen(facts, want)
        if have is not None and not self.differing(want, have):
            return
        refuse(facts, host.name, want.unit)
        if have is not None and have.problem:
            raise BadInput(f"{host.name}: {have.problem}; must be TOML; repair it or move it away")

    async def warnings(self, host: Host, want: ContainerToolkitWant) -> Sequence[str]:
        """What a restart of Docker stops."""
        facts = await host.facts()
        have, docker = self.seen(facts, want), facts.docker
        if (have is not None and have.detected) or docker.live_restore or not docker.running:
            return ()
        return [f"Docker is restarted once, to know of the container toolkit, which {said_to_stop(docker.running)}"]


def _settings(text: str | None) -> tuple[dict[str, Any], str]:
    if text is None:
        return {}, "is no text"
    try:
        return tomllib.loads(text), ""
    except tomllib.TOMLDecodeError as error:
        return {}, str(error)


def _section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _mode(settings: dict[str, Any]) -> str:
    mode = _section(settings, "nvidia-container-runtime").get("mode", "auto")
    return mode if mode in get_args(Mode) else "another"


def _configure(want: ContainerToolkitWant) -> Command:
    cgroups = "true" if want.no_cgroups else "false"
    return Command(
        argv=(
            *("nvidia-ctk", "config", "--in-place", "--config-file", want.config),
            *("--set", f"nvidia-container-runtime.mode={want.mode}"),
            *("--set", f"nvidia-container-cli.no-cgroups={cgroups}"),
        ),
        says=f"changing {want.config}",
        root=True,
    )
